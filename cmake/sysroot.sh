#!/usr/bin/env bash
# A private sysroot for a cross build: the libraries of Debian's ARCH, unpacked into a folder. The machine's own packages stay as they are (co-installing
# a foreign architecture wants every shared package at the very same version). usage: cmake/sysroot.sh arm64|armhf   prints the folder
set -eu
cd "$(dirname "$0")/.."
arch=${1:?usage: cmake/sysroot.sh arm64|armhf}
case $arch in arm64 | armhf) ;; *) echo "sysroot: arm64 or armhf, not $arch" >&2; exit 64 ;; esac
root=$PWD/build/sysroot-$arch
want=(libc6-dev libgcc-12-dev linux-libc-dev libwebsockets-dev libwebsockets-evlib-uv libuv1-dev libgps-dev libmodbus-dev libserialport-dev libsqlite3-dev
  libjansson-dev libprotobuf-c-dev libinih-dev libssl-dev libcurl4-openssl-dev zlib1g-dev libsystemd-dev libcmocka-dev)
stamp=$root/.packages
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "${want[*]}" ]; then echo "$root"; exit 0; fi
apt=$PWD/build/apt-$arch
rm -rf "$root" "$apt"
mkdir -p "$root" "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/log"
: >"$apt/status"
# this machine's own sources and keys, another architecture, another state; dependencies resolve as on an empty machine
options=(-o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
  -o Dir::Log="$apt/log" -o APT::Install-Recommends=false -o Debug::NoLocking=true -o APT::Sandbox::User=root -o Acquire::Languages=none)
# a mirror in the middle of its own update lacks one index: what the others hold is enough, and what is missing fails below
apt-get "${options[@]}" -qq update >&2 || echo "sysroot: not every index could be read" >&2
apt-get "${options[@]}" -qq -y --download-only install "${want[@]}" >&2
mkdir "$apt/control"
for deb in "$apt"/cache/archives/*.deb; do
  dpkg-deb -x "$deb" "$root"
  dpkg-deb -e "$deb" "$apt/control"
  # which package, in which version, a library stands in: cmake/shlibs.py makes Depends of it
  [ ! -f "$apt/control/shlibs" ] || cat "$apt/control/shlibs" >>"$root/.shlibs"
  rm -rf "$apt/control"
done
# absolute links would lead out of the sysroot
find "$root" -type l -lname '/*' | while read -r link; do ln -sfr "$root$(readlink "$link")" "$link"; done
rm -rf "$apt"
echo "${want[*]}" >"$stamp"
echo "$root"
