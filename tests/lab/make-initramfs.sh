#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make-initramfs.sh KERNEL-FOLDER INIT OUT-KERNEL OUT-INITRAMFS
# The same input gives the same bytes: saved images of guests are cached by them.
set -euo pipefail

kernel=$1 init=$2 out_kernel=$3 out_initramfs=$4
# in the order of loading
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk evdev button"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/modules" "$work/root/dev" "$work/root/proc"
install -m 755 "$init" "$work/root/init"
number=10
for module in $modules; do
    file=$(find "$kernel/lib/modules" -name "$module.ko" | head -n 1)
    [ -n "$file" ] || { echo "make-initramfs: no module $module in $kernel" >&2; exit 1; }
    install -m 644 "$file" "$work/root/modules/$number-$module.ko"
    number=$((number + 1))
done
find "$work/root" -exec touch -h -d @0 {} +
(cd "$work/root" && find . -print0 | LC_ALL=C sort -z \
    | cpio --quiet --null --create --format=newc --reproducible --owner=0:0) \
    | gzip -9n >"$work/initramfs"
install -m 644 "$(find "$kernel/boot" -name 'vmlinuz-*' | head -n 1)" "$out_kernel"
install -m 644 "$work/initramfs" "$out_initramfs"
