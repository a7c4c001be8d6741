/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ledger_fixture.h"
#include "vault_fixture.h"

#include "worker/launcher.h"

/* What is asked of the cluster at a resume, in its order, for a node "node-1". */
typedef struct {
    const char *pin_node; /* of the Wukong; NULL: none */
    gboolean no_wukong;
    int refuses; /* start_pinned(): a WkErrorCode, or -1 */
    const char *reason;
    guint conflicts; /* so often first */
    gboolean taken;  /* the operator takes it over */
    GString *asked;
} Cluster;

static gboolean
look_pin(gpointer data, WkPin **pin, GError **error G_GNUC_UNUSED)
{
    const Cluster *self = data;

    g_string_append(self->asked, "look ");
    *pin = NULL;
    if (self->no_wukong)
        return TRUE;
    *pin = g_new0(WkPin, 1);
    (*pin)->wukong = g_strdup("web");
    (*pin)->uid = g_strdup("w-1");
    (*pin)->node = g_strdup(self->pin_node);
    return TRUE;
}

static gboolean
let_start(gpointer data, gboolean may, GError **error G_GNUC_UNUSED)
{
    assert_true(may);
    g_string_append(((Cluster *)data)->asked, "start ");
    return TRUE;
}

static gboolean
start_pinned(gpointer data, const WkPin *pin, GError **error)
{
    Cluster *self = data;

    assert_string_equal(pin->uid, "w-1");
    g_string_append(self->asked, "pin ");
    if (self->conflicts > 0) {
        self->conflicts--;
        wk_error_set(error, WK_ERROR_CONFLICT, "Conflict", "it changed");
        return FALSE;
    }
    if (self->refuses < 0)
        return TRUE;
    wk_error_set(error, (WkErrorCode)self->refuses, self->reason, "it is not to be");
    return FALSE;
}

static gboolean
await_pinned(gpointer data, gboolean *pinned, GError **error G_GNUC_UNUSED)
{
    const Cluster *self = data;

    g_string_append(self->asked, "wait ");
    *pinned = self->taken;
    return TRUE;
}

static gboolean
unpin(gpointer data, const char *wukong, const char *uid, GError **error G_GNUC_UNUSED)
{
    g_string_append_printf(((Cluster *)data)->asked, "unpin %s %s ", wukong, uid);
    return TRUE;
}

static void
keep(gpointer data G_GNUC_UNUSED)
{
}

static const WkClusterCalls calls = { .look_pin = look_pin,
                                      .let_start = let_start,
                                      .start_pinned = start_pinned,
                                      .await_pinned = await_pinned,
                                      .unpin = unpin,
                                      .free = keep };

/* A job with no more than a pin needs. */
static WkJob *
make_job(WkLedger *ledger, Cluster *cluster, const char *selected)
{
    WkJob *job = g_new0(WkJob, 1);

    job->ledger = ledger;
    job->run = wk_run_new("op", "shop_web-vm");
    job->name = g_strdup("shop_web-vm");
    job->uuid = g_strdup("guest-1");
    job->record = wk_record_new("kubevirt", "guest-1", "shop_web-vm");
    job->vm = wk_vm_new();
    job->vm->selected_node = g_strdup(selected);
    job->cluster = wk_cluster_new(&calls, cluster, "node-1");
    cluster->asked = g_string_new(NULL);
    return job;
}

static void
free_job(WkJob *job, Cluster *cluster)
{
    wk_run_unref(job->run);
    wk_record_free(job->record);
    wk_vm_free(job->vm);
    wk_cluster_free(job->cluster);
    g_free(job->name);
    g_free(job->uuid);
    g_free(job->caveat);
    g_free(job);
    g_string_free(cluster->asked, TRUE);
}

#define NO_OPERATOR "did not take highAvailability.nodeSelector"

static const struct {
    const char *label;
    const char *selected; /* by the VM's template */
    Cluster cluster;
    const char *asked;
    gboolean noted;
    const char *caveat; /* NULL: there is none; "": said that there is none */
} cases[] = {
    { "pinned by us", NULL, { .refuses = -1, .taken = TRUE }, "look pin wait ", TRUE, "" },
    { "not taken over", NULL, { .refuses = -1 }, "look pin wait ", TRUE, NO_OPERATOR },
    { "template names it", "node-1", { .refuses = -1 }, "start ", FALSE, "" },
    { "template names another",
      "node-2",
      { .refuses = -1 },
      "start ",
      FALSE,
      "its VirtualMachine names node 'node-2'" },
    { "user names it",
      NULL,
      { .pin_node = "node-1", .refuses = -1, .taken = TRUE },
      "look start wait ",
      FALSE,
      "" },
    { "user names another",
      NULL,
      { .pin_node = "node-2", .refuses = -1 },
      "look start ",
      FALSE,
      "its Wukong names node 'node-2'" },
    { "no Wukong", NULL, { .no_wukong = TRUE, .refuses = -1 }, "look start ", FALSE, NULL },
    { "no such field",
      NULL,
      { .refuses = WK_ERROR_FAILED, .reason = "FieldsPruned" },
      "look pin start ",
      TRUE,
      "pinned to this node: it is not to be" },
    { "forbidden",
      NULL,
      { .refuses = WK_ERROR_UNAVAILABLE, .reason = "Forbidden" },
      "look pin start ",
      TRUE,
      "pinned to this node: it is not to be" },
    { "changed meanwhile",
      NULL,
      { .refuses = -1, .conflicts = 2, .taken = TRUE },
      "look pin look pin look pin wait ",
      TRUE,
      "" },
};

static void
check_case(WkLedger *ledger, gsize i)
{
    g_autoptr(GError) error = NULL;
    Cluster cluster = cases[i].cluster;
    WkJob *job = make_job(ledger, &cluster, cases[i].selected);

    job->record->uuid[6] = (char)('a' + i);
    if (!wk_launcher_let_start(job, &error))
        fail_msg("%s: %s", cases[i].label, error->message);
    if (!g_str_equal(cluster.asked->str, cases[i].asked))
        fail_msg("%s: asked '%s'", cases[i].label, cluster.asked->str);
    if (cases[i].noted != (g_strcmp0(job->record->pinned_uid, "w-1") == 0)
        || cases[i].noted != (g_strcmp0(job->record->pinned_wukong, "web") == 0))
        fail_msg("%s: noted '%s'", cases[i].label, job->record->pinned_uid);
    if (cases[i].caveat == NULL || *cases[i].caveat == '\0'
            ? g_strcmp0(job->caveat, cases[i].caveat)
            : strstr(job->caveat, cases[i].caveat) == NULL)
        fail_msg("%s: says '%s'", cases[i].label, job->caveat);
    g_string_truncate(cluster.asked, 0);
    assert_true(wk_launcher_unpin(job, &error));
    assert_string_equal(cluster.asked->str, cases[i].noted ? "unpin web w-1 " : "");
    free_job(job, &cluster);
}

static void
test_cases(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        check_case(ledger, i);
}

/* A Wukong that is written all the time, and a server that is away: both pass. */
static void
test_not_now(void **state)
{
    static const Cluster clusters[] = {
        { .refuses = -1, .conflicts = 100 },
        { .refuses = WK_ERROR_UNAVAILABLE, .reason = "Unreachable" },
    };
    g_autoptr(WkLedger) ledger = fixture_ledger(state);

    for (gsize i = 0; i < G_N_ELEMENTS(clusters); i++) {
        g_autoptr(GError) error = NULL;
        Cluster cluster = clusters[i];
        WkJob *job = make_job(ledger, &cluster, NULL);

        job->record->uuid[6] = (char)('a' + i);
        assert_false(wk_launcher_let_start(job, &error));
        assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
        assert_null(strstr(cluster.asked->str, "start"));
        assert_null(job->caveat);
        free_job(job, &cluster);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cases, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_not_now, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests_name("worker/launcher pin", tests, NULL, NULL);
}
