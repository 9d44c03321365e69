#!/bin/bash
# in.sh CMD... : runs CMD inside the cluster's network namespace, with its kubectl, helm, ctr and KUBECONFIG.
. "$(dirname "$0")/lib.sh"
export KUBECONFIG=$PKI/admin.kubeconfig CONTAINERD_ADDRESS=$R/ctd.sock PATH=$K:$CACHE/helm-4.3.1:$PATH
exec nsenter --net=/run/netns/$NS "$@"
