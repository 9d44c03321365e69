#!/bin/bash
# kind/cp.sh kill-apiserver|start-apiserver : the kubelet of the node runs the API server as long as its manifest is there.
set -eu
. "$(dirname "$0")/lib.sh"
node="docker exec $NAME-control-plane"
case $1 in
kill-apiserver) $node sh -c 'mv /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/ && pkill -9 -x kube-apiserver';;
start-apiserver) $node mv /etc/kubernetes/kube-apiserver.yaml /etc/kubernetes/manifests/;;
esac
