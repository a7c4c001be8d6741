#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints a folder with etcd, kube-apiserver and kubectl: $KUBEBUILDER_ASSETS when it is set, else
# built once by Go from the modules that go.mod names, and kept outside the tree. Ends with 77 where
# there is no Go.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
programs=(etcd kube-apiserver kubectl)

complete() {
    local program
    for program in "${programs[@]}"; do
        [ -x "$1/$program" ] || return 1
    done
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    complete "$KUBEBUILDER_ASSETS" || {
        echo "assets: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks one of: ${programs[*]}" >&2
        exit 1
    }
    echo "$KUBEBUILDER_ASSETS"
    exit 0
fi

version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$here/go.mod")
hash=$(cat "$here/go.mod" "$here/go.sum" "$here/build.sh" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/wukong/kube
folder=$cache/$version-$hash
if complete "$folder"; then
    echo "$folder"
    exit 0
fi

PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
command -v go >/dev/null || {
    echo "assets: Go is needed to build kube-apiserver $version (see go.mod for its version)" >&2
    exit 77
}

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
complete "$folder" && {
    echo "$folder"
    exit 0
}
scratch=$(mktemp -d "$cache/.build.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
echo "assets: building ${programs[*]} $version, some minutes, once" >&2
IFS=. read -r major minor _ <<<"${version#v}"
stamp=k8s.io/component-base/version
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false"
cd "$here"
go build -trimpath -ldflags "-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=$major \
    -X $stamp.gitMinor=$minor" -o "$scratch/" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl >&2
go build -trimpath -ldflags "-s -w" -o "$scratch/etcd" go.etcd.io/etcd/server/v3 >&2
mv -T "$scratch" "$folder"
trap - EXIT
echo "$folder"
