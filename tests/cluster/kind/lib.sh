# What the scripts here share. `cargo xtask setup --kind` builds the programs and the image of the node.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
R=${KAOS_KIND_RUN:-/var/lib/kaos-kind}   # everything that is written at run time
NS=kaos-kind                           # network namespace in which it lives
NAME=kaos                              # of the cluster
KUBERNETES=v1.36.3
export KUBECONFIG=$R/kubeconfig
IMAGE=localhost/kaos-kind-node:$KUBERNETES
ARCHIVE=$CACHE/kind-node-1.36.3.tar
# A kind of the machine's own, with its own Docker and the images that it downloads, goes before what was built here.
if [ "${KAOS_KIND:-}" != built ] && command -v kind >/dev/null && docker info >/dev/null 2>&1; then
  OWN= KIND=kind
  inside() { "$@"; }
else
  OWN=1 KIND=$CACHE/kind-0.33.0/kind
  export DOCKER_HOST=unix://$R/docker.sock
  inside() { nsenter --net=/run/netns/$NS "$@"; }
fi
