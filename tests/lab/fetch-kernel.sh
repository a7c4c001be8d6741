#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints a folder with a Linux kernel and its modules (boot/vmlinuz-*, lib/modules/*), fetched once
# from Debian: the package that linux-image-cloud-amd64 stands for now, kept outside the tree by
# version. Where the archive can't be asked, the newest one fetched before is good enough.
set -euo pipefail

meta=linux-image-cloud-amd64
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/wukong/kernel

newest_cached() {
    find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name '.*' | sort -V | tail -n 1
}

# Prints the folder, or ends with 1.
fetch() {
    local package version folder scratch
    package=$(apt-cache depends "$meta" 2>/dev/null \
        | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || return 1
    version=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p' | head -n 1)
    folder=$cache/${package}_${version//:/%3a}
    if [ ! -d "$folder" ]; then
        scratch=$(mktemp -d "$cache/.fetch.XXXXXX")
        if ! (cd "$scratch" && apt-get -q -o APT::Sandbox::User=root download "$package=$version" \
            && dpkg -x ./*.deb root && mv -T root "$folder") >&2; then
            rm -rf "$scratch"
            return 1
        fi
        rm -rf "$scratch"
    fi
    echo "$folder"
}

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
if fetch; then
    exit 0
fi
echo "fetch-kernel: apt's lists are missing or old" >&2
if apt-get -q update >&2 && fetch; then
    exit 0
fi
found=$(newest_cached)
[ -n "$found" ] || {
    echo "fetch-kernel: can't download $meta's kernel, and none was fetched before" >&2
    exit 1
}
echo "$found"
