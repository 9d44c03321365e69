#!/bin/bash
# kind/import.sh FILE.tar : images that `docker save` or `cargo xtask images` wrote, to the node.
set -eu
. "$(dirname "$0")/lib.sh"
inside $KIND load image-archive "$1" --name $NAME
