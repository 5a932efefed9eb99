#!/bin/sh
# Makes the root folder of the container image: the single executable, the shared libraries that it needs, and a user. No shell.
# Usage: rootfs.sh BRAID FOLDER
set -eu
braid=$1
root=$2
mkdir -p "$root/usr/bin" "$root/etc/etcd-braid" "$root/tmp"
chmod 1777 "$root/tmp"
cp "$braid" "$root/usr/bin/braid"
ldd "$braid" | grep -o '/[^ ]*' | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
echo 'etcd-braid:x:65532:65532::/:/nonexistent' > "$root/etc/passwd"
echo 'etcd-braid:x:65532:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
