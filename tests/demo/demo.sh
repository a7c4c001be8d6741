#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo: a real Linux guest is suspended to memory and to disk, the node crashes in between, and
# the guest goes on where it was. Runs inside lab-run; started by "./dev demo".
#
# WK_DEMO_SABOTAGE makes it fail, to show that it can: image (a byte of the saved image is
# changed), nonce (the guest is booted anew behind the demo's back), skip-restore (no resume).
set -euo pipefail

WK_SRCDIR=${WK_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
# shellcheck source=tests/lab/lab.sh
. "$WK_SRCDIR/tests/lab/lab.sh"

guest=demo
sabotage=${WK_DEMO_SABOTAGE:-}
patience=30000 # ms

say() {
    printf '\n==> %s\n' "$*"
}

# The last line says why; what the agent said comes before it.
fail() {
    tail -n 30 /var/log/lab/wukongd.log >&2 2>/dev/null || true
    echo "demo: failed: ${*//$'\n'/; }"
    exit 1
}

trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# The biggest file in the vault: the guest's image.
image() {
    find /var/lib/wukong/vault -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-
}

start_node() {
    lab libvirtd start || fail "libvirtd does not start"
    lab agent start --no-kube || fail "wukongd does not start"
}

pause_and_resume() {
    local before after
    say "suspend to memory, and resume"
    before=$(lab guest nonce "$guest")
    ctl suspend "$guest" --to memory || fail "suspend to memory"
    lab guest wait-quiet "$guest" "$patience" || fail "the guest runs on after suspend to memory"
    ctl is-suspended "$guest" || fail "the agent does not say that the guest is suspended"
    ctl resume "$guest" || fail "resume from memory"
    lab guest wait-ticking "$guest" "$patience" || fail "the guest stands still after resume"
    after=$(lab guest nonce "$guest")
    [ "$before" = "$after" ] || fail "the guest is another one after resume from memory"
    echo "demo: pause ok"
}

suspend_to_disk() {
    local bytes
    say "suspend to disk"
    ctl suspend "$guest" --to disk || fail "suspend to disk"
    [ "$(lab_domain_state "$guest")" = "shut off" ] || fail "QEMU still runs after suspend to disk"
    ctl images || fail "the images can't be listed"
    bytes=$(stat -c %s "$(image)")
    [ "$bytes" -gt 1000000 ] || fail "the image has $bytes bytes only"
    echo "demo: image bytes=$bytes"
}

# One byte in the middle of the guest's RAM.
change_image() {
    local file size byte
    file=$(image)
    size=$(stat -c %s "$file")
    byte=$(od -An -tu1 -j $((size / 2)) -N 1 "$file")
    printf '%b' "\\x$(printf '%02x' $((byte ^ 255)))" \
        | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc status=none
}

crash_node() {
    say "the node crashes, and boots again"
    lab node crash || fail "something did not die"
    lab node new-boot || fail "no new boot id"
    start_node
}

resume_from_disk() {
    say "resume from disk"
    if [ "$sabotage" = skip-restore ]; then
        patience=5000 # in vain
    else
        ctl resume "$guest" || fail "resume from disk: $(ctl status "$guest" 2>&1 | sed -n 's/^ *Reason: //p')"
    fi
    lab guest wait-tick "$guest" "$1" "$patience" || fail "the guest does not run after resume"
}

boot_anew() {
    lab guest destroy "$guest"
    lab guest create "$guest"
}

main() {
    local nonce_before nonce_after tick_before tick_after
    case $sabotage in
    '' | image | nonce | skip-restore) ;;
    *) fail "unknown WK_DEMO_SABOTAGE '$sabotage'" ;;
    esac

    say "a node with libvirtd and wukongd, and a Linux guest"
    start_node
    lab guest start "$guest" --disk --fill 48 || fail "the guest does not start"
    ctl list || fail "the guests can't be listed"
    pause_and_resume

    nonce_before=$(lab guest nonce "$guest")
    suspend_to_disk
    tick_before=$(lab guest tick "$guest")
    [ "$sabotage" != image ] || change_image
    crash_node
    resume_from_disk "$tick_before"
    [ "$sabotage" != nonce ] || boot_anew

    nonce_after=$(lab guest nonce "$guest")
    tick_after=$(lab guest tick "$guest")
    echo "demo: nonce before=$nonce_before after=$nonce_after"
    [ "$nonce_before" = "$nonce_after" ] || fail "the guest was booted anew: another nonce"
    echo "demo: counter before=$tick_before after=$tick_after"
    [ "$tick_after" -gt "$tick_before" ] || fail "the counter does not go on"
    lab guest check "$guest" || fail "the counter has a gap, or counted twice"
    lab agent term || fail "wukongd does not end"
    echo "demo: passed"
}

main
