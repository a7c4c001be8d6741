/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of KubeVirt's objects, asked of a real API server with the agent's own token: what
 * its patches and their refusals really are, writers beside us, and what its watches tell. */
#include "kube-e2e.h"

#include "base/error.h"
#include "kube/kubevirt.h"
#include "kube/kubevirt_request.h"

#include <string.h>

#define NS      "default"
#define NAME    "web-vm"
#define WUKONG  "web"
#define LOCK    "wukong.novasphere.dev/saved-state"
#define WAIT_MS 20000
#define ROUNDS  25

static WkKube *kube;

/* ---- the main loop ---- */

static gboolean
on_overdue(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

/* Iterates until @check is true. */
static void
until(gboolean (*check)(gpointer data), gpointer data, const char *what)
{
    gboolean overdue = FALSE;
    const guint timer = g_timeout_add(WAIT_MS, on_overdue, &overdue);

    while (!check(data) && !overdue)
        g_main_context_iteration(NULL, TRUE);
    if (overdue)
        fail_msg("waited in vain: %s", what);
    g_source_remove(timer);
}

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

    self->fine = wk_kubevirt_done_finish(kube, result, &self->error);
    self->done = TRUE;
}

static void
on_locked(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Result *self = data;

    self->vmi = wk_kubevirt_lock_finish(kube, result, &self->error);
    self->done = TRUE;
}

static void
on_vmi(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Result *self = data;

    self->vmi = wk_kubevirt_get_fresh_vmi_finish(kube, result, &self->error);
    self->done = TRUE;
}

static WkVmi *
get_vmi(const char *name)
{
    g_auto(Result) result = { 0 };

    wk_kubevirt_get_fresh_vmi(kube, NS, name, NULL, on_vmi, &result);
    until(is_done, &result, "a VMI");
    if (result.vmi == NULL)
        fail_msg("%s", result.error->message);
    return g_steal_pointer(&result.vmi);
}

static void
lock(const WkVmi *vmi, Result *result)
{
    result_clear(result);
    wk_kubevirt_lock(kube, vmi, NULL, on_locked, result);
    until(is_done, result, "the lock");
}

static void
unlock(const char *name, const char *uid)
{
    g_auto(Result) result = { 0 };

    wk_kubevirt_unlock(kube, NS, name, uid, NULL, on_done, &result);
    until(is_done, &result, "the lock to be off");
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

/* ---- the cluster's side ---- */

static char *
kubectl(const char *verb, const char *object, const char *third, const char *fourth)
{
    char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, verb, object, third, fourth, NULL)) != NULL);
    return out;
}

static void
do_kubectl(const char *verb, const char *object, const char *third, const char *fourth)
{
    g_autofree char *out = kubectl(verb, object, third, fourth);
}

static void
make_vmi(const char *name, const char *finalizers)
{
    g_autofree char *text = g_strdup_printf(
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: %s, "
        "labels: {kubevirt.io/nodeName: " LAB_NODE_NAME "}, finalizers: [%s]}, spec: {domain: {}}, "
        "status: {phase: Running, nodeName: " LAB_NODE_NAME "}}\n",
        name, finalizers);

    lab_ok(lab_kube_apply(text, &error));
}

static char *
finalizers_of(const char *name)
{
    g_autofree char *object = g_strdup_printf("vmi/%s", name);

    return kubectl("get", object, "--ignore-not-found", "-ojsonpath={.metadata.finalizers}");
}

static void
assert_finalizers(const char *name, const char *expected)
{
    g_autofree char *out = finalizers_of(name);

    assert_string_equal(out, expected);
}

/* As KubeVirt does: it takes its finalizers off and the object goes, if nobody else has one. */
static int
teardown(void **state G_GNUC_UNUSED)
{
    static const char *const kinds[] = { "vmi", "vm" };

    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *names = kubectl("get", kinds[i], "-oname", NULL);
        g_auto(GStrv) each = g_strsplit(names, "\n", -1);

        for (gsize j = 0; each[j] != NULL && *each[j] != '\0'; j++) {
            do_kubectl("patch", each[j], "--type=merge", "-p={\"metadata\":{\"finalizers\":null}}");
            do_kubectl("delete", each[j], "--ignore-not-found", NULL);
        }
    }
    return 0;
}

/* ---- the lock ---- */

static void
test_lock(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_auto(Result) result = { 0 };

    make_vmi(NAME, "a.b/c");
    vmi = get_vmi(NAME);
    assert_false(vmi->has_lock);
    lock(vmi, &result);
    assert_non_null(result.vmi);
    assert_string_equal(result.vmi->uid, vmi->uid);
    assert_int_equal(result.vmi->lock_index, 1);
    assert_finalizers(NAME, "[\"a.b/c\",\"" LOCK "\"]");
    /* Once more, by the state with the lock: that is tested, and nothing is written. */
    g_clear_pointer(&vmi, wk_vmi_free);
    vmi = g_steal_pointer(&result.vmi);
    lock(vmi, &result);
    assert_non_null(result.vmi);
    assert_string_equal(result.vmi->resource_version, vmi->resource_version);
    unlock(NAME, vmi->uid);
    assert_finalizers(NAME, "[\"a.b/c\"]");
    unlock(NAME, vmi->uid);
}

static void
test_lock_is_the_first_finalizer(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_auto(Result) result = { 0 };

    make_vmi(NAME, "");
    vmi = get_vmi(NAME);
    lock(vmi, &result);
    assert_non_null(result.vmi);
    assert_finalizers(NAME, "[\"" LOCK "\"]");
    unlock(NAME, vmi->uid);
    assert_finalizers(NAME, "");
}

/* Somebody wrote since; the VMI is another one; it is on its way out: never a lock by accident. */
static void
test_lock_refused(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_autoptr(WkVmi) newer = NULL;
    g_autoptr(WkVmi) next = NULL;
    g_auto(Result) result = { 0 };

    make_vmi(NAME, "a.b/c");
    vmi = get_vmi(NAME);
    do_kubectl("annotate", "vmi/" NAME, "x=y", NULL);
    lock(vmi, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    newer = get_vmi(NAME);
    do_kubectl("delete", "vmi/" NAME, "--wait=false", NULL);
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    g_clear_pointer(&newer, wk_vmi_free);
    newer = get_vmi(NAME);
    assert_true(newer->deleting);
    newer->deleting = FALSE; /* the server's own word */
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "GuestDeleting");
    do_kubectl("patch", "vmi/" NAME, "--type=merge", "-p={\"metadata\":{\"finalizers\":null}}");
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_NOT_FOUND, "NotFound");
    make_vmi(NAME, "a.b/c");
    next = get_vmi(NAME);
    g_free(newer->resource_version);
    newer->resource_version = g_strdup(next->resource_version);
    lock(newer, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    assert_finalizers(NAME, "[\"a.b/c\"]");
}

/* KubeVirt and we at the same finalizers, each time anew: none is lost. */
static void
test_lock_beside_a_writer(void **state G_GNUC_UNUSED)
{
    guint conflicts = 0;
    static const char script[] =
        "for i in $(seq 1 200); do \"$0\" --kubeconfig " LAB_KUBE_ADMIN
        " annotate --overwrite vmi/" NAME " i=$i >/dev/null || exit 0; done";
    g_autofree char *binary = g_build_filename(g_getenv("KUBEBUILDER_ASSETS"), "kubectl", NULL);
    const char *const argv[] = { "/bin/sh", "-c", script, binary, NULL };
    g_autoptr(GSubprocess) writer = NULL;
    g_autofree char *left = NULL;

    make_vmi(NAME, "a.b/c");
    lab_ok((writer = g_subprocess_newv(argv, G_SUBPROCESS_FLAGS_NONE, &error)) != NULL);
    for (guint i = 0; i < ROUNDS; i++) {
        g_auto(Result) result = { 0 };
        g_autofree char *uid = NULL;

        while (result.vmi == NULL) {
            g_autoptr(WkVmi) vmi = get_vmi(NAME);

            lock(vmi, &result);
            conflicts += result.vmi == NULL;
            if (result.vmi == NULL)
                assert_true(g_error_matches(result.error, WK_ERROR, WK_ERROR_CONFLICT));
        }
        uid = g_strdup(result.vmi->uid);
        unlock(NAME, uid);
    }
    g_subprocess_force_exit(writer);
    g_subprocess_wait(writer, NULL, NULL);
    g_print("# %u locks, %u conflicts\n", ROUNDS, conflicts);
    assert_finalizers(NAME, "[\"a.b/c\"]");
    left = kubectl("get", "vmi/" NAME, "-ojsonpath={.metadata.annotations.i}", NULL);
    assert_true(strlen(left) > 0);
}

/* While the lock is there the VMI stays, whoever deletes it; then it goes. */
static void
test_lock_holds(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = NULL;
    g_autofree char *left = NULL;
    g_auto(Result) result = { 0 };

    make_vmi(NAME, "");
    vmi = get_vmi(NAME);
    lock(vmi, &result);
    do_kubectl("delete", "vmi/" NAME, "--wait=false", NULL);
    assert_finalizers(NAME, "[\"" LOCK "\"]");
    unlock(NAME, "another-uid");
    assert_finalizers(NAME, "[\"" LOCK "\"]");
    unlock(NAME, vmi->uid);
    left = kubectl("get", "vmi", "-oname", NULL);
    assert_string_equal(left, "");
    unlock(NAME, vmi->uid);
}

/* ---- small changes ---- */

static void
set_autostart(const char *uid, gboolean autostart, Result *result)
{
    result_clear(result);
    wk_kubevirt_set_autostart(kube, NS, WUKONG, uid, autostart, NULL, on_done, result);
    until(is_done, result, "autoStart");
}

static void
test_autostart(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    g_autofree char *off = NULL;
    g_autofree char *on = NULL;
    g_auto(Result) result = { 0 };

    lab_ok(lab_kube_wukong(WUKONG, &error));
    uid = kubectl("get", "wk/" WUKONG, "-ojsonpath={.metadata.uid}", NULL);
    set_autostart(uid, FALSE, &result);
    assert_true(result.fine);
    off = kubectl("get", "wk/" WUKONG, "-ojsonpath={.spec}", NULL);
    assert_string_equal(off, "{\"cpu\":1,\"memory\":\"128Mi\",\"osImage\":\"lab\","
                             "\"startStrategy\":{\"autoStart\":false}}");
    set_autostart(uid, TRUE, &result);
    assert_true(result.fine);
    set_autostart("another-uid", FALSE, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Replaced");
    on = kubectl("get", "wk/" WUKONG, "-ojsonpath={.spec.startStrategy}", NULL);
    assert_string_equal(on, "{\"autoStart\":true}");
    do_kubectl("delete", "wk/" WUKONG, NULL, NULL);
    set_autostart(uid, FALSE, &result);
    assert_failed(&result, WK_ERROR_NOT_FOUND, "NotFound");
}

static void
make_vm(const char *name)
{
    g_autofree char *text = g_strdup_printf("{apiVersion: kubevirt.io/v1, kind: VirtualMachine, "
                                            "metadata: {name: %s}, spec: {running: true}}\n",
                                            name);

    lab_ok(lab_kube_apply(text, &error));
}

static void
mark(const char *uid, gboolean suspended, Result *result)
{
    result_clear(result);
    wk_kubevirt_mark_suspended(kube, NS, NAME, uid, suspended, NULL, on_done, result);
    until(is_done, result, "the mark");
}

#define MARK "-ojsonpath={.metadata.annotations.wukong\\.novasphere\\.dev/suspended}"

static void
test_mark(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    g_autofree char *marked = NULL;
    g_autofree char *unmarked = NULL;
    g_auto(Result) result = { 0 };

    make_vm(NAME);
    uid = kubectl("get", "vm/" NAME, "-ojsonpath={.metadata.uid}", NULL);
    mark(uid, TRUE, &result);
    assert_true(result.fine);
    marked = kubectl("get", "vm/" NAME, MARK, NULL);
    assert_string_equal(marked, "true");
    mark("another-uid", FALSE, &result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Replaced");
    mark(uid, FALSE, &result);
    assert_true(result.fine);
    mark(uid, FALSE, &result);
    assert_true(result.fine);
    unmarked = kubectl("get", "vm/" NAME, MARK, NULL);
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

    self->pods = wk_kubevirt_list_pods_finish(kube, result, &self->error);
    self->done = TRUE;
}

static void
on_claim(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Found *self = data;

    self->claim = wk_kubevirt_get_claim_finish(kube, result, &self->error);
    self->done = TRUE;
}

static guint
count_pods(const char *vmi_uid)
{
    Found found = { 0 };
    guint n;

    wk_kubevirt_list_pods(kube, NS, vmi_uid, NULL, on_pods, &found);
    until(is_found, &found, "pods");
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
    assert_int_equal(count_pods("u-1"), 1);
    assert_int_equal(count_pods("u-2"), 0);
    do_kubectl("delete", "pod/launcher", "--force", NULL);
    assert_int_equal(count_pods("u-1"), 0);
    wk_kubevirt_get_claim(kube, NS, "web-root", NULL, on_claim, &found);
    until(is_found, &found, "a claim");
    assert_non_null(found.claim);
    assert_string_equal(found.claim->name, "web-root");
    assert_null(found.claim->volume);
    wk_claim_free(found.claim);
}

/* ---- the watches ---- */

static GString *told;

static void
tell_vmi(const WkVmi *vmi, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "+%s%s ", vmi->name, vmi->deleting ? "(deleting)" : "");
}

static void
tell_vmi_gone(const char *ns G_GNUC_UNUSED, const char *name, const char *uid G_GNUC_UNUSED,
              gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "-%s ", name);
}

static void
tell_vm(const WkVm *vm, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "v+%s ", vm->name);
}

static void
tell_vm_gone(const char *ns G_GNUC_UNUSED, const char *name, const char *uid G_GNUC_UNUSED,
             gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "v-%s ", name);
}

static void
tell_synced(gpointer data G_GNUC_UNUSED)
{
    g_string_append(told, "sync ");
}

static void
tell_looked(const char *ns G_GNUC_UNUSED, const char *name, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "look:%s ", name);
}

static void
tell_trouble(const GError *error, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "!%s ", error != NULL ? error->message : "well");
}

static const WkKubevirtListener listener = { .vmi = tell_vmi,
                                             .vmi_gone = tell_vmi_gone,
                                             .vm = tell_vm,
                                             .vm_gone = tell_vm_gone,
                                             .synced = tell_synced,
                                             .looked = tell_looked,
                                             .trouble = tell_trouble };

static gboolean
is_told(gpointer data)
{
    return strstr(told->str, data) != NULL;
}

static void
until_told(const char *what)
{
    until(is_told, (gpointer)what, what);
    g_print("# told: %s\n", told->str);
    g_string_set_size(told, 0);
}

static gboolean
is_heard(gpointer data)
{
    return lab_kube_count("", "virtualmachineinstances") > *(guint *)data;
}

/* The server learns of KubeVirt while we wait, and then of guests. */
static void
test_follow(void **state G_GNUC_UNUSED)
{
    WkKubevirt *kubevirt = wk_kubevirt_new(kube, LAB_NODE_NAME, &listener, NULL);
    guint none = 0;

    told = g_string_new(NULL);
    until(is_heard, &none, "the first question");
    assert_false(wk_kubevirt_is_present(kubevirt));
    assert_string_equal(told->str, "");
    lab_ok(lab_kube_kubevirt(&error));
    wk_kubevirt_hurry(kubevirt);
    until_told("sync ");
    make_vmi(NAME, "a.b/c");
    until_told("+" NAME " ");
    wk_kubevirt_follow(kubevirt, NS, NAME, TRUE);
    until_told("v-" NAME " look:" NAME);
    make_vm(NAME);
    until_told("v+" NAME);
    do_kubectl("label", "vmi/" NAME, "kubevirt.io/nodeName=other", "--overwrite");
    until_told("+" NAME); /* by name it is still there */
    assert_non_null(wk_kubevirt_get_vmi(kubevirt, NS, NAME));
    do_kubectl("delete", "vmi/" NAME, "--wait=false", NULL);
    until_told("+" NAME "(deleting)");
    do_kubectl("patch", "vmi/" NAME, "--type=merge", "-p={\"metadata\":{\"finalizers\":null}}");
    until_told("-" NAME);
    make_vmi(NAME, "");
    until_told("+" NAME);
    do_kubectl("delete", "vm/" NAME, NULL, NULL);
    until_told("v-" NAME);
    wk_kubevirt_follow(kubevirt, NS, NAME, FALSE);
    do_kubectl("label", "vmi/" NAME, "kubevirt.io/nodeName=other", "--overwrite");
    until_told("-" NAME);
    wk_kubevirt_free(kubevirt);
    g_string_free(told, TRUE);
}

static int
setup(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkKubeConfig) config = NULL;

    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok((config = wk_kube_config_load(LAB_KUBE_AGENT, &error)) != NULL);
    kube = wk_kube_new(config, "test/1");
    return 0;
}

#define one_test(function) cmocka_unit_test_teardown(function, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        one_test(test_follow), /* brings the CRDs */
        one_test(test_lock),         one_test(test_lock_is_the_first_finalizer),
        one_test(test_lock_refused), one_test(test_lock_beside_a_writer),
        one_test(test_lock_holds),   one_test(test_autostart),
        one_test(test_mark),         one_test(test_around),
    };

    if (!lab_kube_is_available())
        return 77;
    return cmocka_run_group_tests_name("kube-kubevirt", tests, setup, NULL);
}
