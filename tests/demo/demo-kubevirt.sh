#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The demo with KubeVirt: a real guest in a launcher pod of the stand-in (tests/launcher), a real
# kube-apiserver, and kubectl as the user. To memory by KubeVirt's pause; to disk, the pod gone and
# the node crashed in between; back in a new pod. Runs inside lab-run; started by "./dev demo
# kubevirt". WK_DEMO_SABOTAGE as in demo.sh.
set -euo pipefail

WK_SRCDIR=${WK_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
# shellcheck source=tests/lab/lab.sh
. "$WK_SRCDIR/tests/lab/lab.sh"

name=my-vm
guest=default_$name-vm
sabotage=${WK_DEMO_SABOTAGE:-}
patience=60000 # ms
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

pod() {
    "$WK_BUILDDIR/tests/launcher/pod-tool" "$@"
}

kubectl() {
    "$KUBEBUILDER_ASSETS/kubectl" "$@"
}

act() {
    kubectl patch wukong "$name" --type merge -p "{\"spec\":{\"lifecycleAction\":$1}}"
}

# A changed image must be found out, and is not waited for in vain.
wait_for() {
    local field="state" value=$1
    if [ "$sabotage" = image ] && [ "${2:-}" = from-disk ]; then
        field=reason value=ImageCorrupt
    fi
    if ! kubectl wait "wk/$name" --for="jsonpath={.status.lifecycleState.$field}=$value" --timeout=120s \
        || [ "$field" = reason ]; then
        fail "the Wukong's state does not become $1: $(kubectl get "wk/$name" \
            -o 'jsonpath={.status.lifecycleState.reason}')"
    fi
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

# The resident memory of every QEMU of this node, in all pods; nothing without one.
qemu_memory() {
    local exe
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null || true) in
        *qemu-system-*) awk '/^VmRSS:/ { print $2, $3 }' "${exe%/exe}/status" ;;
        esac
    done
}

# pod_name UID
pod_name() {
    kubectl get pods -o "jsonpath={.items[?(@.metadata.uid==\"$1\")].metadata.name}"
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
    say "kubectl patch: suspend to memory, by KubeVirt's own pause, and resume"
    before=$(lab guest nonce "$guest")
    act '{"action":"suspend","target":"memory"}'
    kubectl wait "wk/$name" --for=condition=Suspended --timeout=120s || fail "not Suspended"
    kubectl wait "vmi/$name-vm" --for=condition=Paused --timeout=60s || fail "KubeVirt does not say Paused"
    lab guest wait-quiet "$guest" "$patience" || fail "the guest runs on after suspend to memory"
    act '{"action":"resume"}'
    wait_for Running
    lab guest wait-ticking "$guest" "$patience" || fail "the guest stands still after resume"
    after=$(lab guest nonce "$guest")
    [ "$before" = "$after" ] || fail "the guest is another one after resume from memory"
    echo "demo: pause ok"
}

# suspend_to_disk POD: its pod is gone afterwards, and with it the guest's memory.
suspend_to_disk() {
    local bytes memory pod_object
    pod_object=$(pod_name "$1")
    memory=$(qemu_memory)
    [ -n "$memory" ] && [ -n "$pod_object" ] || fail "no QEMU, or no pod, before suspend to disk"
    say "kubectl patch: suspend to disk; pod $pod_object, whose QEMU has $memory"
    kubectl get pods
    act '{"action":"suspend","target":"disk"}'
    kubectl wait "wk/$name" --for=condition=Suspended --timeout=120s || fail "not Suspended"
    wait_for Suspended
    kubectl wait "pod/$pod_object" --for=delete --timeout=120s || fail "the pod is still there"
    kubectl get pods
    [ -z "$(qemu_memory)" ] || fail "QEMU still runs after suspend to disk"
    bytes=$(stat -c %s "$(image)")
    [ "$bytes" -gt 1000000 ] || fail "the image has $bytes bytes only"
    echo "demo: image bytes=$bytes"
}

reboot_node() {
    say "the node crashes, and boots again"
    lab node crash || fail "something did not die"
    lab node new-boot || fail "no new boot id"
    pod node-start || fail "virt-handler and the kubelet do not start"
    kube agent-start || fail "wukongd does not start"
}

# resume_from_disk TICK
resume_from_disk() {
    say "kubectl patch: resume"
    if [ "$sabotage" = skip-restore ]; then
        patience=5000 # in vain
    else
        act '{"action":"resume"}'
        wait_for Running from-disk
    fi
    lab guest wait-tick "$guest" "$1" "$patience" || fail "the guest does not run after resume"
}

vmi_uid() {
    kubectl get "vmi/$name-vm" -o 'jsonpath={.metadata.uid}'
}

# Once its VMI is gone KubeVirt itself boots another one in its place.
boot_anew() {
    kubectl delete "vmi/$name-vm" --timeout=120s
    lab guest wait-ticking "$guest" "$patience"
}

main() {
    local nonce_before nonce_after tick_before tick_after pod_before pod_after vmi_before vmi_after
    case $sabotage in
    '' | image | nonce | skip-restore) ;;
    *) fail "unknown WK_DEMO_SABOTAGE '$sabotage'" ;;
    esac

    say "a control plane, KubeVirt's stand-in, a node with wukongd, a Linux guest in a launcher pod"
    pod start || fail "the control plane, or KubeVirt's stand-in, does not start"
    pod vm-start "$name" || fail "the guest does not start"
    kube agent-start || fail "wukongd does not start"
    wait_for Running
    : >/var/lib/lab/watched
    (kubectl get wk -w >>/var/lib/lab/watched 2>/dev/null) &
    pause_and_resume

    nonce_before=$(lab guest nonce "$guest")
    pod_before=$(pod pod-uid "$name")
    vmi_before=$(vmi_uid)
    suspend_to_disk "$pod_before"
    tick_before=$(lab guest tick "$guest")
    [ "$sabotage" != image ] || change_image
    reboot_node
    resume_from_disk "$tick_before"

    say "what kubectl get wk -w printed"
    cat /var/lib/lab/watched
    expect_watched
    kubectl get pods
    pod_after=$(pod pod-uid "$name")
    vmi_after=$(vmi_uid)
    echo "pod before=$pod_before after=$pod_after"
    echo "VirtualMachineInstance before=$vmi_before after=$vmi_after"
    [ "$pod_before" != "$pod_after" ] && [ "$vmi_before" != "$vmi_after" ] || fail "it is the old pod"
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
