#!/usr/bin/env bash
# A new Debian 12 root in which nobody has built anything: a clone, what scripts/deps installs,
# an installation in /usr/local and one whose libraries are in lib64, and with each the programs
# of others that examples/ has, built by pkg-config, find_package and FetchContent, and run.
#   fresh_root.sh SOURCE           the last commit of SOURCE
# Needs root, mmdebstrap and an archive: the one that this machine's own sources name; exit 77
# where one of them is not there.  $CCACHE_DIR, where set, is used inside as well.
set -euo pipefail
source=$(cd "$1" && pwd)
skip() { echo "SKIPPED: $*"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "only root makes a root"
command -v mmdebstrap >/dev/null || skip "there is no mmdebstrap"
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
[ -e "$sources" ] || skip "this machine has no sources of Debian's"
grep -q bookworm "$sources" || skip "this machine's sources are not Debian 12's"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT # what is mounted below it is so in the inner namespace alone
root=$work/root
unshare --mount true 2>"$work/said" || skip "no namespaces: $(cat "$work/said")"
mmdebstrap --quiet --mode=root --variant=apt --include=ca-certificates bookworm "$root" \
  "$sources" >"$work/said" 2>&1 || skip "no root could be made: $(tail -n 3 "$work/said")"
cp /etc/resolv.conf "$root/etc/"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe" # nobody needs it after a crash
git clone -q --no-local --depth 1 "file://$source" "$root/attnc"
mkdir -p "$root${CCACHE_DIR:-}"
cat >"$root/inside" <<'INSIDE'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 ATTNC_CACHE=0
say() { echo "== $*"; }
cd /attnc
say "what it needs"
scripts/deps
apt-get -qq install --no-install-recommends make ${CCACHE_DIR:+ccache} >/dev/null

# installed PREFIX LIBDIR
installed() {
  say "$1, $2"
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
    -DCMAKE_INSTALL_PREFIX="$1" -DCMAKE_INSTALL_LIBDIR="$2" >/dev/null
  cmake --build build >/dev/null
  cmake --install build >/dev/null
}
# check PREFIX LIBDIR: the command, and programs of others with what is installed there.
check() {
  local prefix=$1 lib=$1/$2 examples
  export ATTNC_LIBCUDA=$lib/libattnc-emu.so PKG_CONFIG_PATH=$lib/pkgconfig
  for cc in 0 1; do
    ATTNC_CC=$cc "$prefix/bin/attnc" run specs/gpt2.attn.yaml --device emu --verify --brief \
      --shape "b1 h2 s64" | grep -F PASS
  done
  rm -rf /tmp/kernels
  "$prefix/bin/attnc" compile specs/llama3_8b_prefill.attn.yaml --arch sm_80 -o /tmp/kernels
  examples=$(mktemp -d)
  cp -r examples/. "$examples"
  say "$prefix: pkg-config"
  make -s -C "$examples/pkg-config"
  run "$examples/pkg-config" "$lib"
  say "$prefix: find_package"
  cmake -S "$examples/find_package" -B "$examples/found" -Dattnc_DIR="$lib/cmake/attnc" >/dev/null
  cmake --build "$examples/found" >/dev/null
  run "$examples/found" ""
  say "$prefix: FetchContent"
  cmake -S "$examples/fetch_content" -B "$examples/fetched" -G Ninja -DATTNC_SOURCE=/attnc \
    -DCMAKE_INSTALL_LIBDIR="$2" >/dev/null
  cmake --build "$examples/fetched" --target hello bundle attnc_emu attnc_llvm attnc_cc >/dev/null
  run "$examples/fetched" ""
  ATTNC_CC=1 "$examples/fetched/hello"
}
run() { # FOLDER LD_LIBRARY_PATH
  LD_LIBRARY_PATH=$2 "$1/hello" | grep -F "2048 rows: PASS"
  LD_LIBRARY_PATH=$2 "$1/bundle" /tmp/kernels llama3_8b_prefill | grep -F ": PASS"
}

installed /usr/local lib
ldconfig
[ "$(command -v attnc)" = /usr/local/bin/attnc ]
[ -e /usr/local/share/man/man1/attnc.1 ]
if ldd /usr/local/bin/attnc | grep "not found"; then exit 1; fi
mv build built # what is installed needs nothing of it
check /usr/local lib
mv built build
installed /opt/attnc lib64
[ -e /opt/attnc/lib64/libattnc.so.0 ]
[ ! -e /opt/attnc/lib ]
rm -rf build /usr/local/lib/libattnc* # … and none of the other's
check /opt/attnc lib64
say "all of it was built and run"
INSIDE
inner='mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"
[ -z "${CCACHE_DIR:-}" ] || mount --bind "$CCACHE_DIR" "$1$CCACHE_DIR"
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
  ${CCACHE_DIR:+CCACHE_DIR=$CCACHE_DIR CMAKE_C_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=/ CCACHE_NOHASHDIR=1} \
  chroot "$1" bash /inside'
unshare --mount --pid --fork bash -c "$inner" inner "$root"
