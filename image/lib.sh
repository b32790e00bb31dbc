# shellcheck shell=bash
# What the recipe of the image and the tests on an emulated box share: words on the terminal, and Debian
# roots that hold the tools, so that the machine itself needs no more than mmdebstrap.

# By its real name, whatever links lead to it.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
work=$repository/target/image
# Other mirrors, or a day of snapshot.debian.org to build an old image again; what is kept is then made anew.
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
security_mirror=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
export LC_ALL=C.UTF-8

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'image: %s\n' "$*" >&2; exit 1; }

# The version of the program, and the moment that files are made at, so that the same sources give the same bytes.
program_version() { sed -n 's/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml" | head -n 1; }
made_at() { git -C "$repository" log -1 --format=%ct 2>/dev/null || echo 1767225600; }

# outside_tree KEY: a private key must not get into what is passed on.
outside_tree() {
  case $(realpath -m "$1") in
    "$repository"/*) fail "the private key must not be in the tree: move $1, and say where with UPDATE_KEY=" ;;
  esac
}

# update_key: $update_key is the private key that signs updates, and the image trusts. It is whose the image is, so it
# lives with that person, outside the tree; one is made where there is none.
update_key() {
  local home=$HOME
  [ -z "${SUDO_USER:-}" ] || home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
  update_key=${UPDATE_KEY:-${XDG_CONFIG_HOME:-$home/.config}/returnfeed/update-key.pem}
  outside_tree "$update_key"
  [ ! -e "$update_key" ] || return 0
  say "Making a key for updates: $update_key"
  cat >&2 <<WORDS
    The box takes only updates that are signed with it. Keep a copy where nobody else gets at it: with another key
    no box that you make now takes another update, and has to be flashed again. UPDATE_KEY= names one of your own.
WORDS
  (umask 077 && mkdir -p "$(dirname "$update_key")" && openssl genpkey -algorithm ed25519 -out "$update_key.new")
  [ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID:${SUDO_GID:-}" "$(dirname "$update_key")" "$update_key.new"
  mv "$update_key.new" "$update_key"
}

# debian_root ROOT ARCHITECTURES VARIANT PACKAGES… [-- MMDEBSTRAP OPTIONS…]
# Debian trixie with what is newer in its backports, but only where PACKAGES name it with /trixie-backports.
debian_root() {
  local root=$1 architectures=$2 variant=$3 packages=()
  shift 3
  while [ $# -gt 0 ] && [ "$1" != -- ]; do packages+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  rm -rf "$root"
  mmdebstrap --quiet --mode=root --skip=check/qemu --variant="$variant" --architectures="$architectures" \
    --include="$(IFS=,; echo "${packages[*]}")" ${DEBIAN_MIRROR:+--aptopt='Acquire::Check-Valid-Until "false"'} "$@" trixie "$root" - <<SOURCES
deb $mirror trixie main non-free-firmware
deb $mirror trixie-updates main non-free-firmware
deb $security_mirror trixie-security main non-free-firmware
deb $mirror trixie-backports main non-free-firmware
SOURCES
}

# kept_root NAME VERSIONS ARCHITECTURES VARIANT PACKAGES… [-- MMDEBSTRAP OPTIONS…]: makes target/image/NAME once,
# and again when VERSIONS, one word of any kind, or what is asked for changes.
kept_root() {
  local name=$1 root=$work/$1 asked="$* $mirror $security_mirror"
  shift 2
  [ "$(cat "$root.made" 2>/dev/null)" = "$asked" ] && return
  say "Making the $name root (a minute or two, kept for the next time)"
  rm -f "$root.made"
  debian_root "$root" "$@"
  echo "$asked" > "$root.made"
}

# inside NAME COMMAND…: runs COMMAND in target/image/NAME. The repository is at /returnfeed there, whatever
# its place on this machine is, so that no path of this machine gets into what is built.
inside() {
  local root=$work/$1
  shift
  mkdir -p "$root/returnfeed"
  # shellcheck disable=SC2016 # expands in there
  unshare --mount --pid --fork --kill-child -- bash -euc '
    root=$1 repository=$2
    shift 2
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount --bind "$repository" "$root/returnfeed"
    touch "$root/etc/resolv.conf"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    mount --bind /etc/ssl/certs "$root/etc/ssl/certs"  # an office with an authority of its own
    exec chroot "$root" "$@"' inside "$root" "$repository" "$@"
}

# The tools that make the image and those that run it on an emulated box.
imager_root() {
  kept_root imager any amd64,arm64 apt bmap-tools ca-certificates cpio device-tree-compiler dosfstools e2fsprogs fdisk iproute2 kmod mtools \
    dnsmasq-base libzbar0t64 python3-pytest qemu-user squashfs-tools xz-utils zstd \
    qemu-system-arm/trixie-backports qemu-system-common/trixie-backports qemu-system-data/trixie-backports
}
