#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo with Kubernetes: a real kube-apiserver, a real guest, and kubectl as the user. Suspend and
# resume by patching a Wukong; to disk, the API server killed and the node crashed in between. Runs
# inside lab-run; started by "./dev demo kube". WK_DEMO_SABOTAGE as in demo.sh.
set -euo pipefail

WK_SRCDIR=${WK_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
# shellcheck source=tests/lab/lab.sh
. "$WK_SRCDIR/tests/lab/lab.sh"

name=my-vm
guest=default_$name-vm
sabotage=${WK_DEMO_SABOTAGE:-}
patience=30000 # ms
export KUBECONFIG=/var/lib/lab/kube/admin.conf HOME=/var/lib/lab

say() {
    printf '\n==> %s\n' "$*"
}

fail() {
    tail -n 30 /var/log/lab/wukongd.log >&2 2>/dev/null || true
    echo "demo: failed: ${*//$'\n'/; }"
    exit 1
}

trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

kube() {
    "$WK_BUILDDIR/tests/kube/kube-tool" "$@"
}

kubectl() {
    "$KUBEBUILDER_ASSETS/kubectl" "$@"
}

act() {
    kubectl patch wukong "$name" --type merge -p "{\"spec\":{\"lifecycleAction\":$1}}"
}

wait_for() {
    kubectl wait "wk/$name" --for="jsonpath={.status.lifecycleState.state}=$1" --timeout="${2:-40s}" \
        || fail "the Wukong's state does not become $1: $(kubectl get "wk/$name" \
            -o 'jsonpath={.status.lifecycleState.reason}')"
}

image() {
    find /var/lib/wukong/vault -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-
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

start_node() {
    lab libvirtd start || fail "libvirtd does not start"
    kube agent-start || fail "wukongd does not start"
}

# The states that `kubectl get wk -w` has printed, each once in a row.
expect_watched() {
    local state
    for state in Suspending Suspended Resuming Running; do
        grep -q " $state " /var/lib/lab/watched || fail "kubectl get wk -w did not show $state"
    done
}

pause_and_resume() {
    local before after
    say "kubectl patch: suspend to memory, and resume"
    before=$(lab guest nonce "$guest")
    act '{"action":"suspend","target":"memory"}'
    kubectl wait "wk/$name" --for=condition=Suspended --timeout=40s || fail "not Suspended"
    lab guest wait-quiet "$guest" "$patience" || fail "the guest runs on after suspend to memory"
    act '{"action":"resume"}'
    wait_for Running
    lab guest wait-ticking "$guest" "$patience" || fail "the guest stands still after resume"
    after=$(lab guest nonce "$guest")
    [ "$before" = "$after" ] || fail "the guest is another one after resume from memory"
    echo "demo: pause ok"
}

suspend_to_disk() {
    local bytes
    say "kubectl patch: suspend to disk"
    act '{"action":"suspend","target":"disk"}'
    kubectl wait "wk/$name" --for=condition=Suspended --timeout=40s || fail "not Suspended"
    wait_for Suspended
    [ "$(lab_domain_state "$guest")" = "shut off" ] || fail "QEMU still runs after suspend to disk"
    bytes=$(stat -c %s "$(image)")
    [ "$bytes" -gt 1000000 ] || fail "the image has $bytes bytes only"
    echo "demo: image bytes=$bytes"
}

outage() {
    say "the API server is killed, the node crashes and boots again, the API server comes back"
    kube server-kill || fail "the API server does not die"
    lab node crash || fail "something did not die"
    lab node new-boot || fail "no new boot id"
    start_node
    kube server-start || fail "the API server does not come back"
}

resume_from_disk() {
    say "kubectl patch: resume"
    if [ "$sabotage" = skip-restore ]; then
        patience=5000 # in vain
    else
        act '{"action":"resume"}'
        wait_for Running "$([ "$sabotage" = image ] && echo 8s || echo 40s)" # in vain, or not
    fi
    lab guest wait-tick "$guest" "$1" "$patience" || fail "the guest does not run after resume"
}

main() {
    local nonce_before nonce_after tick_before tick_after
    case $sabotage in
    '' | image | nonce | skip-restore) ;;
    *) fail "unknown WK_DEMO_SABOTAGE '$sabotage'" ;;
    esac

    say "a control plane, a node with libvirtd and wukongd, a Linux guest and its Wukong"
    kube start || fail "the control plane does not start"
    start_node
    lab guest start "$guest" --disk --fill 48 || fail "the guest does not start"
    kube wukong "$name" || fail "no Wukong"
    wait_for Running
    : >/var/lib/lab/watched
    (kubectl get wk -w >>/var/lib/lab/watched 2>/dev/null) &
    pause_and_resume

    nonce_before=$(lab guest nonce "$guest")
    suspend_to_disk
    tick_before=$(lab guest tick "$guest")
    [ "$sabotage" != image ] || change_image
    outage
    resume_from_disk "$tick_before"
    if [ "$sabotage" = nonce ]; then
        lab guest destroy "$guest"
        lab guest create "$guest"
    fi

    say "what kubectl get wk -w printed until the API server was killed"
    cat /var/lib/lab/watched
    expect_watched
    kubectl get events.events.k8s.io --sort-by=.metadata.creationTimestamp
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
