#!/bin/bash
# kind/start.sh : a real `kind create cluster`; kind/stop.sh ends it. Where a kind and a Docker are in use on this machine they
# make it, with their own images. Else those of `cargo xtask setup --kind`, with a Docker of its own in a network namespace of
# its own, so that neither the machine's Docker nor its network is touched.
# Reach it with kind/in.sh: `in.sh kubectl get nodes`, `in.sh helm ls`, `in.sh curl http://POD`.
set -eu
. "$(dirname "$0")/lib.sh"
[ ! -e $R ] || { echo "it runs already, or is left from before; kind/stop.sh ends it"; exit 1; }
T0=$(date +%s%N); ms() { echo "+$(( ($(date +%s%N)-T0)/1000000 )) ms: $*"; }
mkdir -p $R; save_sysctls $R/sysctl.saved
image=()
cat >$R/kind.yaml <<'Y'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {ipFamily: ipv4}
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  failCgroupV1: false
  oomScoreAdj: 0
nodes: [{role: control-plane}]
Y
if [ -n "$OWN" ]; then
  echo "kind: $($KIND version), built here, with an image of its own"
  # The image brings its own network plugin.
  sed -i 's/ipFamily: ipv4/&, disableDefaultCNI: true/' $R/kind.yaml
  image=(--image $IMAGE)
  ip netns add $NS
  ls -d /sys/fs/cgroup/docker /sys/fs/cgroup/*/docker >/dev/null 2>&1 || touch $R/made-groups
  [ -d /lib/modules ] || { mkdir /lib/modules; touch $R/made-lib-modules; }     # kind mounts it
  inside ip link set lo up; inside ip link add kd0 type bridge; inside ip addr replace 10.253.0.1/24 dev kd0; inside ip link set kd0 up
  inside sysctl -qw net.ipv4.ip_forward=1
  setsid nsenter --net=/run/netns/$NS dockerd --data-root $R/docker --exec-root $R/docker-exec -p $R/docker.pid -H $DOCKER_HOST \
    --bridge=kd0 --iptables=false --ip6tables=false --add-runtime unresourced=$C/kind/runc-kind --default-runtime unresourced \
    >$R/dockerd.log 2>&1 </dev/null &
  for i in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
  docker load --quiet --input $ARCHIVE
  ms "Docker started, image of the node loaded"
else
  # Where nothing can be downloaded, or another Kubernetes is wanted: an image that this Docker has or finds.
  [ -z "${KAOS_KIND_IMAGE:-}" ] || image=(--image "$KAOS_KIND_IMAGE")
  echo "kind: $($KIND version) of this machine, with ${KAOS_KIND_IMAGE:-the image that it downloads}"
fi
inside $KIND create cluster --name $NAME "${image[@]}" --config $R/kind.yaml --wait 120s --retain
ms "the node is ready"
# Ready is the node before names are resolved in it.
"$(dirname "$0")/in.sh" kubectl --namespace kube-system rollout status deployment/coredns --timeout 120s
ms "names are resolved"
