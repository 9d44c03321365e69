#!/bin/bash
# kind/in.sh CMD... : runs CMD with the cluster's KUBECONFIG, where its API server is reached, with kubectl, helm and docker;
# curl on the node, where its pods and Services are reached.
. "$(dirname "$0")/lib.sh"
export PATH=$(dirname $KIND):$K:$CACHE/helm-4.3.1:$PATH
[ "$1" != curl ] || set -- docker exec --interactive $NAME-control-plane "$@"
inside "$@"
