#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh PROGRAM: builds the stand-in for KubeVirt. It needs nothing but Go's own library. Ends
# with 77 where there is no Go.
set -euo pipefail

program=$(readlink -m "$1")
PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
command -v go >/dev/null || exit 77
cd "$(dirname "$(readlink -f "$0")")"
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false"
go vet .
go build -trimpath -ldflags "-s -w" -o "$program" .
