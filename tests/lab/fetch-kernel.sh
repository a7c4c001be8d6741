#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints a folder with a Linux kernel and its modules (boot/vmlinuz-*, lib/modules/*), fetched once from
# Debian: the package that linux-image-cloud-amd64 stands for now, kept outside the tree by version.
set -euo pipefail

meta=linux-image-cloud-amd64
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wukong/kernel

# The newest one fetched before is good enough when the archive can't be asked.
newest_cached() {
    find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name '.*' 2>/dev/null | sort -V | tail -n 1
}

package=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
version=$(apt-cache show "${package:-none}" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
if [ -z "$package" ] || [ -z "$version" ]; then
    found=$(newest_cached)
    [ -n "$found" ] || { echo "fetch-kernel: apt does not know $meta; run: apt-get update" >&2; exit 1; }
    echo "$found"
    exit 0
fi

folder=$cache/${package}_${version//:/%3a}
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if [ ! -d "$folder" ]; then
    scratch=$(mktemp -d "$cache/.fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    if ! (cd "$scratch" && apt-get -q -o APT::Sandbox::User=root download "$package=$version") >&2; then
        found=$(newest_cached)
        [ -n "$found" ] || { echo "fetch-kernel: can't download $package" >&2; exit 1; }
        echo "$found"
        exit 0
    fi
    dpkg -x "$scratch"/*.deb "$scratch/root"
    mv -T "$scratch/root" "$folder"
fi
echo "$folder"
