#!/bin/bash
# import.sh FILE.tar : docker-save or OCI archive into the cluster's containerd
set -eu
. "$(dirname "$0")/lib.sh"
$CTR -a $R/ctd.sock -n k8s.io images import "$1"
