#!/bin/bash
# workloads.sh OUT.tar PYTHON : images of KAOS's agent server, LiteLLM and plain Python from the environment that
# `cargo xtask setup` made, whose interpreter is PYTHON, with the scripts of tests/workloads/python in /workloads.
set -eu
C=$(cd "$(dirname "$0")" && pwd); out=$1 python=$2
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
environment=$(dirname "$(dirname "$python")")
interpreter=$(readlink -f "$python")
library=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])')
mkdir -p $root/tmp $root/bin $root/etc $root/lib64; chmod 1777 $root/tmp
tar -C / --exclude=__pycache__ --exclude=site-packages/ --exclude="${library#/}/test" --exclude='*.a' -cf - "${library#/}" "${interpreter#/}" \
  | tar -C $root -xf -
mkdir -p "$root/$environment"
tar -C "$environment" --exclude=__pycache__ --exclude=mcp-1 -cf - . | tar -C "$root/$environment" -xf -
# The environment names its interpreter by the path it was made with.
home=$(sed -n 's/^home = //p' "$environment/pyvenv.cfg")
[ -e "$root$home/$(basename "$interpreter")" ] || install -D "$interpreter" "$root$home/$(basename "$interpreter")"
ln -sf "$(basename "$interpreter")" "$root$home/python3" 2>/dev/null || :
ln -sf "$(basename "$interpreter")" "$root$home/python" 2>/dev/null || :
find $root -name '*.so*' -type f -print0 | xargs -0 "$C/libraries.sh" $root "$interpreter" /bin/sh
install -D /bin/sh $root/bin/sh
printf 'root:x:0:0:root:/root:/bin/sh\n' >$root/etc/passwd
cp -a "$C/../workloads/python" $root/workloads
env='"Env":["PATH='$environment'/bin:/bin","HOST=0.0.0.0","LITELLM_LOCAL_MODEL_COST_MAP=True"]'
"$C/image.sh" "$out" $root \
  "localhost/kaos-workloads/python:1={$env,\"Entrypoint\":[\"python\"]}" \
  "localhost/kaos-workloads/litellm:1={$env,\"Entrypoint\":[\"python\",\"$environment/bin/litellm\"]}" \
  "localhost/kaos-workloads/agent:1={$env,\"Entrypoint\":[\"python\",\"-m\",\"uvicorn\",\"--factory\",\"pais.server:get_app\",\"--host\",\"0.0.0.0\",\"--port\",\"8000\"]}"
