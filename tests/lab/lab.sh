# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# For shell scripts that run inside lab-run: source it. Everything is done by lab-tool, the same
# code that the C tests use; "lab-tool" alone prints what there is.

: "${WK_BUILDDIR:?set it to the build folder}"

lab() {
    "$WK_BUILDDIR/tests/lab/lab-tool" "$@"
}

# wukongctl, wherever the build puts it.
ctl() {
    if [ -x "$WK_BUILDDIR/wukongctl" ]; then
        "$WK_BUILDDIR/wukongctl" "$@"
    else
        "$WK_BUILDDIR/src/wukongctl" "$@"
    fi
}

# What libvirt says of a guest: running, paused, shut off, ...
lab_domain_state() {
    virsh -q domstate "$1"
}
