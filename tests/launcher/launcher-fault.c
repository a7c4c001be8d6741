/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "launcher-fault.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEDGER   LAB_STATE_DIR "/ledger.db"
#define TIDY_MS  45000 /* pods and helpers end some time after what they did */
#define STAND_MS 2500  /* KubeVirt starts and resumes what it can within a second */

/* Both are seen in the pods: their mounts come from the node's, and /run/lab is one with it. */
#define BRAKE      "/run/lab/brake"
#define BRAKE_HELD BRAKE "/held"
#define SCRIPT     LAB_DIR "/brake.sh"

static struct {
    gboolean judged; /* the test came to its oracle */
    char *nonce;     /* of the VM's life at the test's start */
    char *pod;
    guint cases;
    guint faults[LF_FAULTS];
    pid_t operator;
} lf;

/* ---- the brake ---- */

/* libvirt_iohelper FILE FD, from stdin to FD, as libvirt uses it for a save without O_DIRECT. */
static const char script[] = "#!/bin/bash\n"
                             "exec 8>&\"$2\"\n"
                             "if [ -e " BRAKE "/on ]; then\n"
                             "    dd bs=65536 count=16 iflag=fullblock status=none >&8\n"
                             "    : >" BRAKE_HELD "\n"
                             "    while [ -e " BRAKE "/on ]; do sleep 0.05; done\n"
                             "fi\n"
                             "exec cat >&8\n";

static const char *const helpers[] = { "/usr/lib/libvirt/libvirt_iohelper",
                                       "/usr/libexec/libvirt_iohelper" };

static void
install_brake(void)
{
    gboolean found = FALSE;

    lab_ok(g_file_set_contents(SCRIPT, script, -1, &error));
    assert_int_equal(chmod(SCRIPT, 0755), 0);
    for (gsize i = 0; i < G_N_ELEMENTS(helpers); i++) {
        if (!g_file_test(helpers[i], G_FILE_TEST_IS_EXECUTABLE))
            continue;
        assert_int_equal(mount(SCRIPT, helpers[i], NULL, MS_BIND, NULL), 0);
        found = TRUE;
    }
    if (!found)
        fail_msg("libvirt's I/O helper is not where it was looked for");
}

void
lf_brake_on(void)
{
    assert_int_equal(g_mkdir_with_parents(BRAKE, 0777), 0);
    assert_int_equal(chmod(BRAKE, 0777), 0);
    unlink(BRAKE_HELD);
    lab_ok(g_file_set_contents(BRAKE "/on", "", 0, &error));
}

void
lf_brake_off(void)
{
    unlink(BRAKE "/on");
}

static gboolean
is_held(gpointer data G_GNUC_UNUSED)
{
    return g_file_test(BRAKE_HELD, G_FILE_TEST_EXISTS);
}

void
lf_begin_held_save(void)
{
    lf_brake_on();
    lf_act_suspend();
    lab_ok(lab_wait("a save in the midst of it", LAB_WAIT_MS, is_held, NULL, &error));
}

/* ---- around each test ---- */

int
lf_start_node(void **state G_GNUC_UNUSED)
{
    install_brake();
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_standin_start(&error));
    return 0;
}

void
lf_agent_restart(const char *failpoint)
{
    g_autofree char *variable = g_strdup_printf("WK_FAILPOINT=%s", failpoint);
    const char *const env[] = { failpoint != NULL ? variable : NULL, NULL };
    const LabAgentOptions options = { .env = env };

    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_kube_agent_start(&options, &error));
}

static void
start_vm(void)
{
    g_autofree char *there = NULL;

    lab_ok((there = lab_vm_get(LF_NAME, "{.metadata.uid}", &error)) != NULL);
    if (*there != '\0')
        return;
    lab_ok(lab_vm_start(LF_NAME, NULL, &error));
}

/* What failed in the test before stays in the spec, and is not done again until that changes. */
static void
forget_action(void)
{
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, "patch", "wk", LF_NAME, "--type=merge", "-p",
                                  "{\"spec\":{\"lifecycleAction\":null}}", NULL))
           != NULL);
}

int
lf_setup(void **state G_GNUC_UNUSED)
{
    lf.judged = FALSE;
    start_vm();
    forget_action();
    if (lab_pid("wukongd") == 0)
        lab_ok(lab_kube_agent_start(NULL, &error));
    ke_until_within(LF_NAME, KE_STATE, "Running", LF_LONG_MS);
    lab_ok(lab_guest_wait_ticking(LF_DOMAIN, LF_LONG_MS, &error));
    g_free(lf.nonce);
    g_free(lf.pod);
    lab_ok((lf.nonce = lab_guest_nonce(LF_DOMAIN, &error)) != NULL);
    lab_ok((lf.pod = lab_pod_uid(LF_NAME, &error)) != NULL);
    return 0;
}

static int
remove_below(const char *path, const struct stat *st G_GNUC_UNUSED, int type G_GNUC_UNUSED,
             struct FTW *ftw)
{
    if (ftw->level > 0)
        remove(path);
    return 0;
}

/* Nothing is known of what a failed test left. */
static void
start_afresh(void)
{
    G_GNUC_UNUSED g_autofree char *deleted =
        lab_kubectl_out(NULL, "delete", "--ignore-not-found", "--wait=false", "vm/" LF_NAME "-vm",
                        "vmi/" LF_NAME "-vm", NULL);

    lab_ok(lab_agent_kill(&error));
    (void)lab_vmi_drop_finalizer(LF_NAME, LF_LOCK, NULL);
    (void)lab_vm_delete(LF_NAME, NULL);
    nftw(LAB_STATE_DIR, remove_below, 16, FTW_DEPTH | FTW_PHYS);
}

int
lf_teardown(void **state G_GNUC_UNUSED)
{
    lf_brake_off();
    lf_operator_stop();
    lab_ok(lab_standin_reset(&error));
    lab_ok(lab_kube_server_start(&error));
    lab_ok(lab_standin_cluster_start(&error));
    lab_ok(lab_standin_node_start(&error));
    if (!lf.judged)
        start_afresh();
    return 0;
}

int
lf_stop_node(void **state G_GNUC_UNUSED)
{
    (void)lab_vm_delete(LF_NAME, NULL);
    (void)lab_agent_kill(NULL);
    print_message("launcher faults: cases=%u lost=%u doubled=%u cold=%u leftover=%u\n", lf.cases,
                  lf.faults[LF_LOST], lf.faults[LF_DOUBLED], lf.faults[LF_COLD],
                  lf.faults[LF_LEFTOVER]);
    return 0;
}

const char *
lf_pod(void)
{
    return lf.pod;
}

char *
lf_vmi(void)
{
    char *uid = NULL;

    lab_ok((uid = lab_vmi_uid(LF_NAME, &error)) != NULL);
    return uid;
}

/* ---- what the user does ---- */

void
lf_act_suspend(void)
{
    ke_act(LF_NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
}

void
lf_act_resume(void)
{
    ke_act(LF_NAME, "{\"action\":\"resume\",\"target\":null}");
}

void
lf_suspend(void)
{
    lf_act_suspend();
    ke_until_within(LF_NAME, KE_STATE, "Suspended", LF_LONG_MS);
    ke_until_within(LF_NAME, KE_ACTION, "", LF_LONG_MS);
    lab_ok(lab_pod_wait_gone(lf.pod, LAB_WAIT_MS, &error));
}

static gboolean
is_settled(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *all = lab_kube_get(LF_NAME, KE_STATE "|" KE_DONE "|" KE_ACTION, NULL);
    g_auto(GStrv) words = g_strsplit(all != NULL ? all : "", "|", 3);

    if (g_strv_length(words) != 3 || g_str_equal(words[0], "Suspending")
        || g_str_equal(words[0], "Resuming"))
        return FALSE;
    return *words[2] == '\0' || g_str_equal(words[1], "False");
}

void
lf_wait_settled(void)
{
    lab_ok(lab_wait("the end of what was asked for", LF_LONG_MS, is_settled, NULL, &error));
}

void
lf_resume(void)
{
    lf_act_resume();
    ke_until_within(LF_NAME, KE_STATE, "Running", LF_LONG_MS);
}

/* ---- faults ---- */

void
lf_kill(const char *program)
{
    if (lab_pod_kill(lf.pod, program, SIGKILL) == 0)
        fail_msg("there is no %s in the pod", program);
}

void
lf_subresource(const char *verb)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_vm_subresource(LF_NAME, verb, &output, &error));
    if (output.status != 0)
        fail_msg("%s: %s", verb, output.err);
}

/* A process of its own: the test waits for other things meanwhile. */
void
lf_operator_start(void)
{
    lf.operator= fork();
    assert_true(lf.operator>= 0);
    while (lf.operator== 0)
        (void)lab_vm_patch(LF_NAME, "{\"spec\":{\"running\":true,\"runStrategy\":null}}", NULL);
}

void
lf_operator_stop(void)
{
    if (lf.operator<= 0)
        return;
    kill(lf.operator, SIGKILL);
    waitpid(lf.operator, NULL, 0);
    lf.operator= 0;
}

/* ---- what lies about ---- */

/* (transfer full): what is wrong in @folder, where @allowed may be; NULL: nothing. */
static char *
find_entry(const char *folder, const char *allowed)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        if (g_strcmp0(name, allowed) != 0)
            return g_build_filename(folder, name, NULL);
    }
    return NULL;
}

static char *
find_lock(void)
{
    g_autofree char *names = lab_vmi_get(LF_NAME, "{.metadata.finalizers}", NULL);

    if (names == NULL)
        return g_strdup("no answer about the VMI");
    return strstr(names, LF_LOCK) != NULL ? g_strdup_printf("finalizers %s", names) : NULL;
}

static char *
find_in_pod(void)
{
    g_autofree char *pod = lab_pod_uid(LF_NAME, NULL);
    g_autofree char *managed = pod != NULL ? lab_pod_save_path(LF_NAME, NULL) : NULL;
    g_autofree char *folder = managed != NULL ? g_path_get_dirname(managed) : NULL;

    return folder != NULL ? find_entry(folder, NULL) : NULL;
}

static char *
find_helper(void)
{
    const GPid pid = lab_find_process("--launcher-helper");

    return pid != 0 ? g_strdup_printf("a helper, pid %d", (int)pid) : NULL;
}

/* Tests that let a user name a node take that back before. */
static char *
find_pin(void)
{
    g_autofree char *node = lab_kube_get(LF_NAME, LF_WUKONG_NODE, NULL);

    return node != NULL && *node != '\0' ? g_strdup_printf("the Wukong names node %s", node) : NULL;
}

/* Any guest's: there are no others. */
static char *
find_record(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    char *found = NULL;
    int status = sqlite3_open_v2(LEDGER, &db, SQLITE_OPEN_READONLY, NULL);

    if (status == SQLITE_OK)
        status = sqlite3_prepare_v2(db, "SELECT name, state FROM guests WHERE state <> 'none'", -1,
                                    &stmt, NULL);
    if (status == SQLITE_OK)
        status = sqlite3_step(stmt);
    if (status == SQLITE_ROW)
        found = g_strdup_printf("the ledger says of %s: %s", sqlite3_column_text(stmt, 0),
                                sqlite3_column_text(stmt, 1));
    else if (status != SQLITE_DONE)
        found = g_strdup("the ledger can't be read");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return found;
}

static gboolean
is_clean(gpointer data)
{
    static char *(*const finders[])(void) = { find_lock, find_in_pod, find_helper, find_pin,
                                              find_record };
    char **found = data;

    g_free(*found);
    *found = find_entry(E2E_VAULT, ".wukong-vault");
    for (gsize i = 0; *found == NULL && i < G_N_ELEMENTS(finders); i++)
        *found = finders[i]();
    return *found == NULL;
}

void
lf_check_clean(void)
{
    char *found = NULL;

    if (lab_wait("nothing of ours", TIDY_MS, is_clean, &found, NULL))
        return;
    lf.faults[LF_LEFTOVER]++;
    fail_msg("left behind: %s", found);
}

/* ---- the guest ---- */

static void
blame(LfFault fault, const char *what, const char *detail)
{
    lf.faults[fault]++;
    fail_msg("%s: %s", what, detail);
}

static void
check_log(void)
{
    g_autoptr(GError) error = NULL;

    if (lab_guest_check_log(LF_DOMAIN, &error))
        return;
    blame(strstr(error->message, "twice") != NULL ? LF_DOUBLED : LF_LOST, "its log",
          error->message);
}

/* (transfer full): the nonce of whatever runs now. */
static char *
wait_running(void)
{
    g_autofree char *nonce = NULL;

    ke_until_within(LF_NAME, KE_STATE, "Running", LF_LONG_MS);
    if (!lab_guest_wait_ticking(LF_DOMAIN, LF_LONG_MS, NULL))
        blame(LF_LOST, "it does not run", lf.nonce);
    lab_ok((nonce = lab_guest_nonce(LF_DOMAIN, &error)) != NULL);
    lab_ok(lab_vmi_wait_phase(LF_NAME, "Running", LAB_WAIT_MS, &error));
    return g_steal_pointer(&nonce);
}

static void
judge(void)
{
    lf.cases++;
    lf.judged = TRUE;
}

void
lf_check_lives(void)
{
    g_autofree char *nonce = wait_running();

    if (!g_str_equal(nonce, lf.nonce))
        blame(LF_COLD, "booted over its saved memory", nonce);
    check_log();
    lf_check_clean();
    ke_until(LF_NAME, KE_STATE, "Running"); /* nothing to do is an operation, too */
    judge();
}

static gboolean
is_another_life(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *nonce = lab_guest_nonce(LF_DOMAIN, NULL);

    return nonce != NULL && !g_str_equal(nonce, lf.nonce)
           && lab_guest_is_ticking(LF_DOMAIN, LAB_QUIET_MS);
}

void
lf_check_booted_anew(void)
{
    g_autofree char *nonce = NULL;

    lab_ok(lab_wait("another life", LF_LONG_MS, is_another_life, NULL, &error));
    nonce = wait_running();
    check_log();
    lf_check_clean();
    ke_until(LF_NAME, KE_STATE, "Running"); /* nothing to do is an operation, too */
    judge();
}

static gboolean
is_deleted(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *left = lab_kubectl_out(NULL, "get", "--ignore-not-found", "-o", "name",
                                            "vm/" LF_NAME "-vm", "vmi/" LF_NAME "-vm", NULL);

    return left != NULL && *left == '\0';
}

void
lf_check_deleted(void)
{
    if (!lab_wait("the end of VM and VMI", LF_LONG_MS, is_deleted, NULL, NULL))
        blame(LF_LEFTOVER, "VM or VMI does not go", LF_DOMAIN);
    lf_check_clean();
    lab_ok(lab_pod_wait_gone(lf.pod, LAB_WAIT_MS, &error));
    judge();
}

void
lf_check_stands(void)
{
    lab_ok(lab_guest_wait_quiet(LF_DOMAIN, LAB_WAIT_MS, &error));
    if (lab_guest_is_ticking(LF_DOMAIN, STAND_MS))
        blame(LF_COLD, "it runs, although its memory is saved", LF_DOMAIN);
}
