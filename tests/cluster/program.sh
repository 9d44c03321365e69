#!/bin/bash
# program.sh OUT.tar NAME:TAG BINARY CONFIG PARTS.json : an image of one program of the local build, stripped, with the
# libraries that it needs, the authorities that this machine trusts (for collectors behind https), the list of what it is
# made of, and nothing else.
set -eu
C=$(cd "$(dirname "$0")" && pwd)
authorities=/etc/ssl/certs/ca-certificates.crt
[ -e $authorities ] || { echo "$authorities is missing: apt-get install ca-certificates"; exit 1; }
root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
mkdir -p $root/tmp $root/usr/bin; chmod 1777 $root/tmp
strip -o $root/usr/bin/$(basename "$3") "$3"
"$C/libraries.sh" $root "$3"
install -D -m 644 $authorities $root$authorities
install -D -m 644 "$5" $root/usr/share/sbom/$(basename "$5")
"$C/image.sh" "$1" $root "$2=$4"
