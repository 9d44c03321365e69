# Interpreters that are in no archive, built from Debian's sources in the root file system in which this
# runs: CPython without the global lock, and CPython and OpenSSL for musl.
export DEBIAN_FRONTEND=noninteractive
sources=/src
musl=/opt/musl

# The newest version of a source package that the mirror has: its lists may be ahead of it.
fetch() {
    for version in $(apt-cache showsrc "$1" | sed -n 's/^Version: //p' | sort -Vru); do
        if apt-get source -qq --download-only "$1=$version"; then
            dpkg-source --no-check --skip-patches -x "$1_$(echo "$version" | sed 's/^[0-9]*://')".dsc "$1"
            return 0
        fi
    done
    return 1
}

# Quietly; what went wrong is told.
step() {
    "$@" >"$sources/log" 2>&1 || { tail -n 20 "$sources/log"; return 1; }
}

# The options of an interpreter, after the directory that it is installed in. Stripped, as distributions
# do.
python() {
    prefix=$1
    shift
    mkdir -p "$sources/build" && cd "$sources/build"
    step ../python3.13/configure -q --without-ensurepip --disable-test-modules --prefix="$prefix" \
        OPT='-O1 -g0' "$@"
    step make -s -j2
    step make -s install
    strip --strip-all "$prefix/bin/python3.13"
    # Debian's packages that are Python alone.
    for packages in "$prefix"/lib/python3.*/site-packages; do
        echo /usr/lib/python3/dist-packages >"$packages/debian.pth"
    done
    cd .. && rm -rf build
}

echo "deb-src $1 trixie main" >/etc/apt/sources.list.d/sources.list
apt-get update -qq -o Acquire::Check-Valid-Until=false
apt-get install -qq --no-install-recommends \
    musl python3 python3-uvicorn python3-h11 python3-starlette
apt-mark showmanual >/manual
apt-get install -qq --no-install-recommends \
    dpkg-dev gcc libc6-dev libssl-dev linux-libc-dev make musl-tools perl zlib1g-dev
mkdir -p "$sources" "$musl/bin" && cd "$sources"
fetch python3.13
fetch openssl

# musl-gcc asks the compiler of glibc, which says x86_64-linux-gnu; and it finds no headers of the kernel.
cat >"$musl/bin/cc" <<'CC'
#!/bin/sh
case " $* " in
*-print-multiarch\ *) echo "$(uname -m)-linux-musl" ;;
*) exec musl-gcc "$@" -idirafter /usr/include -idirafter "/usr/include/$(uname -m)-linux-gnu" ;;
esac
CC
chmod +x "$musl/bin/cc"
mkdir -p build && cd build
step env CC="$musl/bin/cc" CFLAGS=-O1 ../openssl/Configure "linux-$(uname -m)" shared no-tests no-docs \
    no-async no-afalgeng no-engine no-legacy --prefix="$musl" --libdir=lib
step make -s -j2 build_sw
step make -s install_sw
cd .. && rm -rf build

python /opt/python-3.13t --disable-gil
python /opt/python-3.13-musl --with-openssl="$musl" CC="$musl/bin/cc" LDFLAGS="-Wl,-rpath,$musl/lib"

# What only builds.
cd /
rm -rf "$sources" "$musl"/lib/*.a "$musl/include" /etc/apt/sources.list.d/sources.list
apt-mark auto '.*' >/dev/null
xargs apt-mark manual </manual >/dev/null
rm /manual
apt-get autoremove -qq --purge
apt-get clean
for interpreter in /opt/python-*/bin/python3; do
    "$interpreter" -c 'import asyncio, ssl, uvicorn, h11, starlette'
done
