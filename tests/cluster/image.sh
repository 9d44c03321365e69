#!/bin/bash
# image.sh OUT.tar ROOT CONFIG... : an archive of images (`docker load`, `ctr images import`) that share one layer, the
# folder ROOT, without Docker. Each CONFIG is NAME:TAG=JSON, where JSON is the image's "config". All files become root's,
# unless KEEP_OWNERS is set.
set -eu
out=$(realpath -m "$1") root=$2; shift 2
t=$(mktemp -d); trap 'rm -rf "$t"' EXIT
owners=(--owner=0 --group=0); [ -z "${KEEP_OWNERS:-}" ] || owners=()
tar -C "$root" --sort=name "${owners[@]}" --numeric-owner --mtime=@0 -cf $t/layer.tar .
layer=$(sha256sum $t/layer.tar | cut -d' ' -f1)
files=(layer.tar manifest.json) manifest=
for image; do
  config=config-${#files[@]}.json files+=($config)
  printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(dpkg --print-architecture)" "${image#*=}" $layer >$t/$config
  manifest+=",{\"Config\":\"$config\",\"RepoTags\":[\"${image%%=*}\"],\"Layers\":[\"layer.tar\"]}"
done
printf '[%s]' "${manifest#,}" >$t/manifest.json
tar -C $t -cf "$out" "${files[@]}"
