#!/bin/bash
# libraries.sh ROOT FILE... : copies the shared libraries that programs and libraries need, the loader among them, into
# ROOT, under their own paths.
set -eu
root=$1; shift
# Libraries that a package brings itself are found by the package; ldd says "not found" of them.
ldd "$@" 2>/dev/null | grep -oE '(=> )?/[^ :]+ \(0x' | sed -E 's/^=> //; s/ \(0x$//' | sort -u | while read -r file; do
  [ -e "$root$file" ] || install -D "$file" "$root$file"
done
