/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of KubeVirt's objects, asked of a real API server with the agent's own token: what
 * its patches and their refusals really are, and writers beside us. */
#include "kubevirt-e2e.h"

#include <string.h>

#define WUKONG "web"
#define LOCK   "wukong.novasphere.dev/saved-state"
#define ROUNDS 25

/* ---- one question ---- */

typedef struct {
    gboolean done;
    gboolean fine;
    WkVmi *vmi;
    GError *error;
} Result;

static void
result_clear(Result *self)
{
    g_clear_pointer(&self->vmi, wk_vmi_free);
    g_clear_error(&self->error);
    self->done = self->fine = FALSE;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Result, result_clear)

static gboolean
is_done(gpointer data)
{
    return ((Result *)data)->done;
}

static void
on_done(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Result *self = data;

    self->fine = wk_kubevirt_done_finish(kv_kube, result, &self->error);
    self->done = TRUE;
}

static void
on_locked(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Result *self = data;

    self->vmi = wk_kubevirt_lock_finish(kv_kube, result, &self->error);
    self->done = TRUE;
}

static void
on_vmi(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Result *self = data;

    self->vmi = wk_kubevirt_get_fresh_vmi_finish(kv_kube, result, &self->error);
    self->done = TRUE;
}

static WkVmi *
get_vmi(const char *name)
{
    g_auto(Result) result = { 0 };

    wk_kubevirt_get_fresh_vmi(kv_kube, KV_NS, name, NULL, on_vmi, &result);
    kv_until(is_done, &result, "a VMI");
    if (result.vmi == NULL)
        fail_msg("%s", result.error->message);
    return g_steal_pointer(&result.vmi);
}

static void
lock(const WkVmi *vmi, Result *result)
{
    result_clear(result);
    wk_kubevirt_lock(kv_kube, vmi, NULL, on_locked, result);
    kv_until(is_done, result, "the lock");
}

static void
unlock(const char *name, const char *uid)
{
    g_auto(Result) result = { 0 };

    wk_kubevirt_unlock(kv_kube, KV_NS, name, uid, NULL, on_done, &result);
    kv_until(is_done, &result, "the lock to be off");
    if (!result.fine)
        fail_msg("%s", result.error->message);
}

static void
assert_failed(const Result *result, WkErrorCode code, const char *reason)
{
    if (result->error == NULL)
        fail_msg("fine, '%s' was expected", reason);
    g_print("# %s: %s\n", wk_error_get_reason(result->error), result->error->message);
    if (!g_error_matches(result->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(result->error), reason) != 0)
        fail_msg("code %d '%s' was expected, got %d", (int)code, reason, result->error->code);
}
static char *
finalizers_of(const char *name)
{
    g_autofree char *object = g_strdup_printf("vmi/%s", name);

    return kv_kubectl("get", object, "--ignore-not-found", "-ojsonpath={.metadata.finalizers}");
}

static void
assert_finalizers(const char *name, const char *expected)
{
    g_autofree char *out = finalizers_of(name);

    assert_string_equal(out, expected);
}

/* ---- the lock ---- */

static void
test_lock(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_auto(Result) result = { 0 };

    kv_make_vmi(KV_NAME, "a.b/c");
    vmi = get_vmi(KV_NAME);
    assert_false(vmi->has_lock);
    lock(vmi, &result);
    assert_non_null(result.vmi);
    assert_string_equal(result.vmi->uid, vmi->uid);
    assert_int_equal(result.vmi->lock_index, 1);
    assert_finalizers(KV_NAME, "[\"a.b/c\",\"" LOCK "\"]");
    /* Once more, by the state with the lock: that is tested, and nothing is written. */
    g_clear_pointer(&vmi, wk_vmi_free);
    vmi = g_steal_pointer(&result.vmi);
    lock(vmi, &result);
    assert_non_null(result.vmi);
    assert_string_equal(result.vmi->resource_version, vmi->resource_version);
    unlock(KV_NAME, vmi->uid);
    assert_finalizers(KV_NAME, "[\"a.b/c\"]");
    unlock(KV_NAME, vmi->uid);
}

static void
test_lock_is_the_first_finalizer(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_auto(Result) result = { 0 };

    kv_make_vmi(KV_NAME, "");
    vmi = get_vmi(KV_NAME);
    lock(vmi, &result);
    assert_non_null(result.vmi);
    assert_finalizers(KV_NAME, "[\"" LOCK "\"]");
    unlock(KV_NAME, vmi->uid);
    assert_finalizers(KV_NAME, "");
}

/* Somebody wrote since; the VMI is another one; it is on its way out: never a lock by accident. */
static void
test_lock_refused(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_autoptr(WkVmi) newer = NULL;
    g_autoptr(WkVmi) next = NULL;
    g_auto(Result) result = { 0 };

    kv_make_vmi(KV_NAME, "a.b/c");
    vmi = get_vmi(KV_NAME);
    kv_do("annotate", "vmi/" KV_NAME, "x=y", NULL);
    lock(vmi, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    newer = get_vmi(KV_NAME);
    kv_do("delete", "vmi/" KV_NAME, "--wait=false", NULL);
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    g_clear_pointer(&newer, wk_vmi_free);
    newer = get_vmi(KV_NAME);
    assert_true(newer->deleting);
    newer->deleting = FALSE; /* the server's own word */
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "GuestDeleting");
    kv_do("patch", "vmi/" KV_NAME, "--type=merge", "-p={\"metadata\":{\"finalizers\":null}}");
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_NOT_FOUND, "NotFound");
    kv_make_vmi(KV_NAME, "a.b/c");
    next = get_vmi(KV_NAME);
    g_free(newer->resource_version);
    newer->resource_version = g_strdup(next->resource_version);
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    assert_finalizers(KV_NAME, "[\"a.b/c\"]");
}

/* KubeVirt and we at the same finalizers, each time anew: none is lost. */
static void
test_lock_beside_a_writer(void **state G_GNUC_UNUSED)
{
    guint conflicts = 0;
    static const char script[] =
        "for i in $(seq 1 200); do \"$0\" --kubeconfig " LAB_KUBE_ADMIN
        " annotate --overwrite vmi/" KV_NAME " i=$i >/dev/null || exit 0; done";
    g_autofree char *binary = g_build_filename(g_getenv("KUBEBUILDER_ASSETS"), "kubectl", NULL);
    const char *const argv[] = { "/bin/sh", "-c", script, binary, NULL };
    g_autoptr(GSubprocess) writer = NULL;
    g_autofree char *left = NULL;

    kv_make_vmi(KV_NAME, "a.b/c");
    lab_ok((writer = g_subprocess_newv(argv, G_SUBPROCESS_FLAGS_NONE, &error)) != NULL);
    for (guint i = 0; i < ROUNDS; i++) {
        g_auto(Result) result = { 0 };
        g_autofree char *uid = NULL;

        while (result.vmi == NULL) {
            g_autoptr(WkVmi) vmi = get_vmi(KV_NAME);

            lock(vmi, &result);
            conflicts += result.vmi == NULL;
            if (result.vmi == NULL)
                assert_true(g_error_matches(result.error, WK_ERROR, WK_ERROR_CONFLICT));
        }
        uid = g_strdup(result.vmi->uid);
        unlock(KV_NAME, uid);
    }
    g_subprocess_force_exit(writer);
    g_subprocess_wait(writer, NULL, NULL);
    g_print("# %u locks, %u conflicts\n", ROUNDS, conflicts);
    assert_finalizers(KV_NAME, "[\"a.b/c\"]");
    left = kv_kubectl("get", "vmi/" KV_NAME, "-ojsonpath={.metadata.annotations.i}", NULL);
    assert_true(strlen(left) > 0);
}

/* While the lock is there the VMI stays, whoever deletes it; then it goes. */
static void
test_lock_holds(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_autofree char *left = NULL;
    g_auto(Result) result = { 0 };

    kv_make_vmi(KV_NAME, "");
    vmi = get_vmi(KV_NAME);
    lock(vmi, &result);
    kv_do("delete", "vmi/" KV_NAME, "--wait=false", NULL);
    assert_finalizers(KV_NAME, "[\"" LOCK "\"]");
    unlock(KV_NAME, "another-uid");
    assert_finalizers(KV_NAME, "[\"" LOCK "\"]");
    unlock(KV_NAME, vmi->uid);
    left = kv_kubectl("get", "vmi", "-oname", NULL);
    assert_string_equal(left, "");
    unlock(KV_NAME, vmi->uid);
}

static void
end_vmi(const char *uid, Result *result)
{
    result_clear(result);
    wk_kubevirt_end(kv_kube, KV_NS, KV_NAME, uid, NULL, on_done, result);
    kv_until(is_done, result, "the end of a VMI");
}

/* Only what the agent has locked, and only the VMI that is meant; it stays by the lock. */
static void
test_end_what_is_locked(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_autoptr(WkVmi) after = NULL;
    g_auto(Result) result = { 0 };

    kv_make_vmi(KV_NAME, "");
    vmi = get_vmi(KV_NAME);
    end_vmi(vmi->uid, &result);
    assert_failed(&result, WK_ERROR_DENIED, "Forbidden");
    lock(vmi, &result);
    end_vmi("another-uid", &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Replaced");
    end_vmi(vmi->uid, &result);
    assert_true(result.fine);
    after = get_vmi(KV_NAME);
    assert_true(after->deleting && after->has_lock);
    unlock(KV_NAME, vmi->uid);
    end_vmi(vmi->uid, &result);
    assert_true(result.fine); /* it is gone */
}

/* ---- small changes ---- */

static void
set_autostart(const char *uid, gboolean autostart, Result *result)
{
    result_clear(result);
    wk_kubevirt_set_autostart(kv_kube, KV_NS, WUKONG, uid, autostart, NULL, on_done, result);
    kv_until(is_done, result, "autoStart");
}

static void
test_autostart(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    g_autofree char *off = NULL;
    g_autofree char *on = NULL;
    g_auto(Result) result = { 0 };

    lab_ok(lab_kube_wukong(WUKONG, &error));
    uid = kv_kubectl("get", "wk/" WUKONG, "-ojsonpath={.metadata.uid}", NULL);
    set_autostart(uid, FALSE, &result);
    assert_true(result.fine);
    off = kv_kubectl("get", "wk/" WUKONG, "-ojsonpath={.spec}", NULL);
    assert_string_equal(off, "{\"cpu\":1,\"memory\":\"128Mi\",\"osImage\":\"lab\","
                             "\"startStrategy\":{\"autoStart\":false}}");
    set_autostart(uid, TRUE, &result);
    assert_true(result.fine);
    set_autostart("another-uid", FALSE, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Replaced");
    on = kv_kubectl("get", "wk/" WUKONG, "-ojsonpath={.spec.startStrategy}", NULL);
    assert_string_equal(on, "{\"autoStart\":true}");
    kv_do("delete", "wk/" WUKONG, NULL, NULL);
    set_autostart(uid, FALSE, &result);
    assert_failed(&result, WK_ERROR_NOT_FOUND, "NotFound");
}

/* ---- on which node a guest may run ---- */

typedef struct {
    gboolean done;
    WkPin *pin;
} Seen;

static gboolean
is_seen(gpointer data)
{
    return ((Seen *)data)->done;
}

static void
on_seen(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Seen *self = data;

    self->pin = wk_kubevirt_get_pin_finish(kv_kube, result, NULL);
    self->done = TRUE;
}

/* (transfer full) */
static WkPin *
get_pin(const char *node)
{
    Seen seen = { 0 };

    wk_kubevirt_get_pin(kv_kube, KV_NS, WUKONG, NULL, on_seen, &seen);
    kv_until(is_seen, &seen, "what a Wukong says of its node");
    assert_non_null(seen.pin);
    assert_int_equal(g_strcmp0(seen.pin->node, node), 0);
    return seen.pin;
}

static void
pin_it(const WkPin *pin, Result *result)
{
    result_clear(result);
    wk_kubevirt_pin(kv_kube, KV_NS, pin, LAB_NODE_NAME, NULL, on_done, result);
    kv_until(is_done, result, "the pin");
}

/* Fine, whatever it comes to. */
static void
unpin(const char *uid, const char *node)
{
    g_auto(Result) result = { 0 };

    wk_kubevirt_unpin(kv_kube, KV_NS, WUKONG, uid, node, NULL, on_done, &result);
    kv_until(is_done, &result, "the pin's end");
    if (!result.fine)
        fail_msg("%s", result.error->message);
}

static void
test_pin(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkPin) before = NULL;
    g_autoptr(WkPin) pinned = NULL;
    g_autoptr(WkPin) other_node = NULL;
    g_autoptr(WkPin) other_uid = NULL;
    g_autoptr(WkPin) after = NULL;
    g_autofree char *spec = NULL;
    g_auto(Result) result = { 0 };

    lab_ok(lab_kube_wukong(WUKONG, &error));
    before = get_pin(NULL);
    unpin(before->uid, LAB_NODE_NAME); /* there is nothing on the way to it */
    pin_it(before, &result);
    assert_true(result.fine);
    spec = kv_kubectl("get", "wk/" WUKONG, "-ojsonpath={.spec}", NULL);
    assert_string_equal(spec, "{\"cpu\":1,\"highAvailability\":{\"nodeSelector\":{"
                              "\"kubernetes.io/hostname\":\"" LAB_NODE_NAME "\"}},"
                              "\"memory\":\"128Mi\",\"osImage\":\"lab\","
                              "\"startStrategy\":{\"autoStart\":true}}");
    pinned = get_pin(LAB_NODE_NAME);
    pin_it(before, &result); /* it has changed since */
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");

    unpin(pinned->uid, "another-node");
    other_node = get_pin(LAB_NODE_NAME);
    unpin("another-uid", LAB_NODE_NAME);
    other_uid = get_pin(LAB_NODE_NAME);
    unpin(pinned->uid, LAB_NODE_NAME);
    after = get_pin(NULL);
    unpin(pinned->uid, LAB_NODE_NAME);
    kv_do("delete", "wk/" WUKONG, NULL, NULL);
    unpin(pinned->uid, LAB_NODE_NAME);
    pin_it(after, &result);
    assert_failed(&result, WK_ERROR_NOT_FOUND, "NotFound");
}

/* ---- the mark ---- */

static void
mark(const char *uid, gboolean suspended, Result *result)
{
    result_clear(result);
    wk_kubevirt_mark_suspended(kv_kube, KV_NS, KV_NAME, uid, suspended, NULL, on_done, result);
    kv_until(is_done, result, "the mark");
}

#define MARK "-ojsonpath={.metadata.annotations.wukong\\.novasphere\\.dev/suspended}"

static void
test_mark(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    g_autofree char *marked = NULL;
    g_autofree char *unmarked = NULL;
    g_auto(Result) result = { 0 };

    kv_make_vm(KV_NAME);
    uid = kv_kubectl("get", "vm/" KV_NAME, "-ojsonpath={.metadata.uid}", NULL);
    mark(uid, TRUE, &result);
    assert_true(result.fine);
    marked = kv_kubectl("get", "vm/" KV_NAME, MARK, NULL);
    assert_string_equal(marked, "true");
    mark("another-uid", FALSE, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Replaced");
    mark(uid, FALSE, &result);
    assert_true(result.fine);
    mark(uid, FALSE, &result);
    assert_true(result.fine);
    unmarked = kv_kubectl("get", "vm/" KV_NAME, MARK, NULL);
    assert_string_equal(unmarked, "");
}

/* ---- pods and claims ---- */

typedef struct {
    gboolean done;
    GPtrArray *pods;
    WkClaim *claim;
    GError *error;
} Found;

static gboolean
is_found(gpointer data)
{
    return ((Found *)data)->done;
}

static void
on_pods(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Found *self = data;

    self->pods = wk_kubevirt_list_pods_finish(kv_kube, result, &self->error);
    self->done = TRUE;
}

static void
on_claim(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Found *self = data;

    self->claim = wk_kubevirt_get_claim_finish(kv_kube, result, &self->error);
    self->done = TRUE;
}

static guint
count_pods(const char *vmi_uid, gboolean now)
{
    Found found = { 0 };
    guint n;

    wk_kubevirt_list_pods(kv_kube, KV_NS, vmi_uid, now, NULL, on_pods, &found);
    kv_until(is_found, &found, "pods");
    if (found.pods == NULL)
        fail_msg("%s", found.error->message);
    n = found.pods->len;
    g_ptr_array_unref(found.pods);
    return n;
}

static const char around[] =
    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: launcher, labels: {kubevirt.io/created-by: "
    "u-1}},\n"
    " spec: {containers: [{name: compute, image: none}]}}\n---\n"
    "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: web-root},\n"
    " spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}\n";

static void
test_around(void **state G_GNUC_UNUSED)
{
    Found found = { 0 };

    lab_ok(lab_kube_apply(around, &error));
    assert_int_equal(count_pods("u-1", TRUE), 1);
    assert_int_equal(count_pods("u-1", FALSE), 1); /* the cache has caught up for the other */
    assert_int_equal(count_pods("u-2", TRUE), 0);
    kv_do("delete", "pod/launcher", "--force", NULL);
    assert_int_equal(count_pods("u-1", TRUE), 0);
    wk_kubevirt_get_claim(kv_kube, KV_NS, "web-root", NULL, on_claim, &found);
    kv_until(is_found, &found, "a claim");
    assert_non_null(found.claim);
    assert_string_equal(found.claim->name, "web-root");
    assert_null(found.claim->volume);
    wk_claim_free(found.claim);
}

static int
setup(void **state)
{
    kv_setup(state);
    lab_ok(lab_kube_kubevirt(&error));
    return 0;
}

#define one_test(function) cmocka_unit_test_teardown(function, kv_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        one_test(test_lock),         one_test(test_lock_is_the_first_finalizer),
        one_test(test_lock_refused), one_test(test_lock_beside_a_writer),
        one_test(test_lock_holds),   one_test(test_end_what_is_locked),
        one_test(test_autostart),    one_test(test_pin),
        one_test(test_mark),         one_test(test_around),
    };

    if (!lab_kube_is_available())
        return 77;
    return cmocka_run_group_tests_name("kube-kubevirt", tests, setup, NULL);
}
