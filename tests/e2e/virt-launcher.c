/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launcher source's connection with a real libvirt as KubeVirt's launcher runs it: as user 107,
 * in session mode, with its XDG variables (kubevirt-facts, 3), and a real guest. The helper is the
 * real one, too: this program is what is started as it.
 */
#include "config.h"

#include "base/clock.h"
#include "base/error.h"
#include "lab-private.h"
#include "virt/domain.h"
#include "virt/error.h"
#include "virt/helper.h"
#include "virt/helper_main.h"
#include "virt/launchers.h"
#include "virt/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define USER    107
#define NOBODY  65534
#define ID      "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define OP      "0b1f6a3e-8f0c-4c5b-9b0e-1d2c3a4b5c6d"
#define OLD     "11111111-2222-4333-8444-555555555555"
#define NEW     "99999999-8888-4777-8666-555555555555"
#define GUEST   "kube_vm"
#define PRIVATE "/var/run/kubevirt-private"
/* On the file system of what is to be the vault, as an emptyDir is. */
#define CONFIG  LAB_DIR "/private"
#define SAVE    CONFIG "/libvirt/qemu/save"
#define IMAGE   SAVE "/" GUEST ".save"
#define VAULT   LAB_DIR "/vault"
#define RUNTIME "/run/launcher"
#define SOCKET  RUNTIME "/libvirt/libvirt-sock"
#define URI     "qemu+unix:///session?socket=" SOCKET

static WkLaunchers *launchers;
static WkConnection *connection;
static WkLauncherLease *lease;

/* --- the pod --- */

static void
make_folder(const char *path)
{
    assert_int_equal(g_mkdir_with_parents(path, 0755), 0);
    assert_int_equal(chown(path, USER, USER), 0);
}

static gboolean
answers(gpointer data G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(URI);

    if (session != NULL)
        virConnectClose(session);
    return session != NULL;
}

static void
start_libvirtd(void)
{
    static const char *const argv[] = { "setpriv",
                                        "--reuid=107",
                                        "--regid=107",
                                        "--clear-groups",
                                        "libvirtd",
                                        "--config",
                                        CONFIG "/libvirt/libvirtd.conf",
                                        NULL };
    static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                       "HOME=/",
                                       "XDG_CONFIG_HOME=" CONFIG,
                                       "XDG_CACHE_HOME=" CONFIG,
                                       "XDG_RUNTIME_DIR=" RUNTIME,
                                       NULL };

    lab_ok(lab_spawn("launcher", argv, env, &error) > 0);
    lab_ok(lab_wait("the launcher's libvirt", LAB_WAIT_MS, answers, NULL, &error));
}

static void
add_line(const char *file, const char *line)
{
    g_autofree char *text = NULL;
    g_autofree char *more = NULL;

    lab_ok(g_file_get_contents(file, &text, NULL, &error));
    more = g_strconcat(text, line, "\n", NULL);
    lab_ok(g_file_set_contents(file, more, -1, &error));
}

/* The pod's image has them, and its libvirt wants to know who connects. */
static void
add_user(void)
{
    add_line("/etc/passwd", "qemu:x:107:107::/:/bin/false");
    add_line("/etc/group", "qemu:x:107:");
}

static void
make_pod(void)
{
    static const char *const folders[] = { RUNTIME,           CONFIG,
                                           CONFIG "/libvirt", "/run/lab",
                                           PRIVATE,           PRIVATE "/" OLD,
                                           PRIVATE "/" NEW,   LAB_GUESTS_DIR "/" GUEST };

    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
        make_folder(folders[i]);
    lab_ok(g_file_set_contents(CONFIG "/libvirt/qemu.conf",
                               "security_driver = \"none\"\nstdio_handler = \"file\"\n"
                               "namespaces = []\ncgroup_controllers = []\n",
                               -1, &error));
    lab_ok(g_file_set_contents(CONFIG "/libvirt/libvirtd.conf", "auth_unix_rw = \"none\"\n", -1,
                               &error));
}

/* The lab's guest, as KubeVirt would have it: a console at a path that bears its VMI's uid. */
static char *
guest_xml(void)
{
    const LabGuestOptions options = { .memory_mib = 512 };
    g_autofree char *plain = lab_guest_xml(GUEST, &options);
    g_autoptr(GString) xml = g_string_new(plain);

    assert_int_equal(g_string_replace(xml, "<memballoon",
                                      "<serial type='unix'><source mode='bind' path='" PRIVATE
                                      "/" OLD "/virt-serial0'/><target port='2'/></serial>"
                                      "<memballoon",
                                      1),
                     1);
    return g_string_free(g_steal_pointer(&xml), FALSE);
}

static virDomainPtr
find_domain(virConnectPtr session)
{
    virDomainPtr domain = virDomainLookupByName(session, GUEST);

    assert_non_null(domain);
    return domain;
}

/* Boots it, RAM filled with what takes a while to save. */
static void
start_guest(void)
{
    virConnectPtr session = virConnectOpen(URI);
    g_autofree char *xml = guest_xml();
    g_autofree char *serial = lab_guest_serial_path(GUEST);
    g_autofree char *answer = NULL;
    virDomainPtr domain;

    lab_ok(g_file_set_contents(serial, "", 0, &error));
    assert_int_equal(chown(serial, USER, USER), 0);
    domain = virDomainDefineXML(session, xml);
    if (domain == NULL || virDomainCreate(domain) < 0)
        fail_msg("%s", virGetLastErrorMessage());
    virDomainFree(domain);
    virConnectClose(session);
    lab_ok(lab_guest_wait_ticking(GUEST, 4 * LAB_WAIT_MS, &error));
    lab_ok((answer = lab_guest_command(GUEST, "fill 256", 4 * LAB_WAIT_MS, &error)) != NULL);
}

static int
open_socket(gpointer data, GError **error)
{
    const int fd = open(data, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        wk_error_set_errno(error, errno, "'%s'", (const char *)data);
    return fd;
}

static void
set_pod(const char *uid, const char *socket, uid_t user)
{
    const WkLauncherPod pod = { .pod_uid = uid,
                                .save_folder = SAVE,
                                .user = user,
                                .group = user,
                                .open_socket = open_socket,
                                .data = (gpointer)socket };

    wk_launchers_set_pod(launchers, ID, &pod);
}

static int
setup_group(void **state G_GNUC_UNUSED)
{
    const WkLauncherGuest guest = {
        .id = ID, .domain = GUEST, .memory_kib = 512 * 1024, .power = WK_POWER_RUNNING
    };

    lab_ok(lab_init(&error));
    signal(SIGPIPE, SIG_IGN);
    wk_virt_init();
    add_user();
    make_pod();
    start_libvirtd();
    start_guest();
    launchers = wk_launchers_new();
    wk_launchers_set_guest(launchers, &guest);
    set_pod("pod", SOCKET, USER);
    connection = wk_connection_new_launchers(launchers);
    return 0;
}

static int
setup(void **state G_GNUC_UNUSED)
{
    lease = wk_launchers_lease(launchers, ID);
    return 0;
}

static int
teardown(void **state G_GNUC_UNUSED)
{
    wk_launcher_lease_free(lease);
    return 0;
}

static void
assert_power(WkPower power, const char *op)
{
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_look(connection, ID, &look, &error));
    assert_string_equal(wk_power_name(look.power), wk_power_name(power));
    assert_true(g_strcmp0(look.op, op) == 0);
}

/* --- processes --- */

/* Returns: the helper's pid: the one child that is this program; 0: there is none. */
static pid_t
find_helper(void)
{
    g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);
    const char *task;

    while ((task = g_dir_read_name(tasks)) != NULL) {
        g_autofree char *path = g_strdup_printf("/proc/self/task/%s/children", task);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) && *text != '\0')
            return (pid_t)g_ascii_strtoll(text, NULL, 10);
    }
    return 0;
}

static gboolean
has_no_helper(gpointer data G_GNUC_UNUSED)
{
    return find_helper() == 0;
}

static guint
count_descriptors(void)
{
    g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(folder) != NULL)
        n++;
    return n;
}

/* A line of /proc/PID/status. Returns: (transfer full). */
static char *
read_status(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_auto(GStrv) lines = NULL;
    g_autofree char *text = NULL;

    lab_ok(g_file_get_contents(path, &text, NULL, &error));
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], name))
            return g_strdup(g_strstrip(lines[i] + strlen(name) + 1));
    }
    return g_strdup("");
}

static void
assert_status(pid_t pid, const char *name, const char *wanted)
{
    g_autofree char *value = read_status(pid, name);

    if (!g_str_equal(value, wanted))
        fail_msg("%s: '%s' was expected, got '%s'", name, wanted, value);
}

/* --- the tests --- */

static void
test_look(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkFacts) facts = NULL;
    g_auto(WkLook) look = { 0 };

    assert_power(WK_POWER_RUNNING, NULL);
    lab_ok(wk_domain_look(connection, ID, &look, &error));
    assert_true(look.persistent);
    assert_false(look.job);
    lab_ok(wk_domain_look_brief(connection, ID, &look, &error));
    assert_int_equal(look.power, WK_POWER_RUNNING);
    lab_ok((facts = wk_domain_read_facts(connection, ID, &error)) != NULL);
    assert_string_equal(facts->uuid, ID);
    assert_string_equal(facts->name, GUEST);
    assert_int_equal(facts->memory_kib, 512 * 1024);
    assert_non_null(facts->emulator);
}

/* What the helper is, seen from outside, and what is left to it, tried from inside. */
static void
assert_confined(uid_t user)
{
    static const char *const attempts[] = { "open",   "create", "connect", "reconnect",
                                            "ptrace", "execve", "fork",    "kill",
                                            "memory", "code",   "root" };
    g_autofree char *ids = g_strdup_printf("%u\t%u\t%u\t%u", user, user, user, user);
    g_autofree char *groups = g_strdup_printf("%u", user);
    g_autofree char *environment = NULL;
    pid_t pid;

    assert_power(WK_POWER_RUNNING, NULL);
    pid = find_helper();
    assert_status(pid, "Uid:", ids);
    assert_status(pid, "Gid:", ids);
    assert_status(pid, "Groups:", groups);
    assert_status(pid, "CapEff:", "0000000000000000");
    assert_status(pid, "CapPrm:", "0000000000000000");
    assert_status(pid, "CapInh:", "0000000000000000");
    assert_status(pid, "CapAmb:", "0000000000000000");
    assert_status(pid, "NoNewPrivs:", "1");
    assert_status(pid, "Seccomp:", "2");
    for (gsize i = 0; i < G_N_ELEMENTS(attempts); i++) {
        WkHelperRequest request = { .method = WK_HELPER_PROBE, .text = attempts[i] };
        g_autoptr(JsonObject) result = NULL;
        g_autofree char *answer = NULL;

        lab_ok((result = wk_launchers_call(launchers, ID, &request, &error)) != NULL);
        lab_ok((answer = wk_helper_read_text(result, &error)) != NULL);
        if (g_strcmp0(answer, "refused") != 0)
            fail_msg("%s was not refused", attempts[i]);
    }
    assert_int_equal(find_helper(), pid);
    assert_power(WK_POWER_RUNNING, NULL);
}

static void
test_confined(void **state G_GNUC_UNUSED)
{
    assert_confined(USER);
}

static void
test_pause(void **state G_GNUC_UNUSED)
{
    GError *refused = NULL;

    lab_ok(wk_domain_suspend(connection, ID, &error));
    assert_power(WK_POWER_PAUSED, NULL);
    lab_ok(lab_guest_wait_quiet(GUEST, LAB_WAIT_MS, &error));
    lab_ok(wk_domain_set_op(connection, ID, OP, &error));
    assert_power(WK_POWER_PAUSED, OP);
    lab_ok(wk_domain_resume(connection, ID, &error));
    assert_power(WK_POWER_RUNNING, OP);
    lab_ok(lab_guest_wait_ticking(GUEST, LAB_WAIT_MS, &error));
    assert_false(wk_domain_sync_time(connection, ID, &refused));
    assert_string_equal(wk_error_get_reason(refused), "TimeNotSynced");
    g_clear_error(&refused);
    assert_false(wk_domain_resume(connection, ID, &refused));
    assert_true(g_error_matches(refused, WK_ERROR, WK_ERROR_CONFLICT));
    g_clear_error(&refused);
}

static void
test_startable(void **state G_GNUC_UNUSED)
{
    g_autofree char *xml = guest_xml();
    g_autoptr(GString) changed = g_string_new(xml);
    g_autoptr(GError) refused = NULL;

    lab_ok(wk_domain_check_startable(connection, ID, xml, &error));
    g_string_replace(changed, "machine='q35", "machine='pc-gone", 0);
    assert_false(wk_domain_check_startable(connection, ID, changed->str, &refused));
    assert_string_equal(wk_error_get_reason(refused), "MachineTypeMissing");
}

/* Undefined while it runs, it is transient; its own XML makes it what it was. */
static void
test_make_persistent(void **state G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(URI);
    virDomainPtr domain = find_domain(session);
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_make_persistent(connection, ID, &error));
    assert_int_equal(virDomainUndefine(domain), 0);
    lab_ok(wk_domain_look(connection, ID, &look, &error));
    assert_false(look.persistent);
    lab_ok(wk_domain_make_persistent(connection, ID, &error));
    lab_ok(wk_domain_look(connection, ID, &look, &error));
    assert_true(look.persistent);
    assert_int_equal(look.power, WK_POWER_RUNNING);
    virDomainFree(domain);
    virConnectClose(session);
}

/* A call in a thread of its own. */
typedef struct {
    gboolean (*func)(WkConnection *connection, const char *id, GError **error);
    GThread *thread;
    GError *error;
    gboolean success;
    gboolean done; /* atomic */
} Call;

static gpointer
call_thread(gpointer data)
{
    Call *call = data;

    call->success = call->func(connection, ID, &call->error);
    g_atomic_int_set(&call->done, TRUE);
    return NULL;
}

static void
call_start(Call *call)
{
    call->thread = g_thread_new("call", call_thread, call);
}

static void
call_join(Call *call)
{
    (void)g_thread_join(call->thread);
}

static gboolean
look_call(WkConnection *own, const char *id, GError **error)
{
    g_auto(WkLook) look = { 0 };

    return wk_domain_look(own, id, &look, error);
}

static gboolean
facts_call(WkConnection *own, const char *id, GError **error)
{
    g_autoptr(WkFacts) facts = wk_domain_read_facts(own, id, error);

    return facts != NULL;
}

static gboolean
progress_call(WkConnection *own, const char *id, GError **error)
{
    guint64 done, total;

    return wk_domain_job_progress(own, id, &done, &total, error);
}

static gboolean
set_op_call(WkConnection *own, const char *id, GError **error)
{
    return wk_domain_set_op(own, id, OP, error);
}

static gboolean
set_paused_call(WkConnection *own, const char *id, GError **error)
{
    return wk_domain_image_set_paused(own, id, NULL, error);
}

static gboolean
read_call(WkConnection *own, const char *id, GError **error)
{
    g_autofree char *xml = guest_xml();

    return wk_domain_image_read(own, id, xml, NULL, NULL, error);
}

static gboolean
rewrite_call(WkConnection *own, const char *id, GError **error)
{
    g_autofree char *xml = guest_xml();
    g_autofree char *rewritten = wk_domain_image_rewrite(own, id, xml, OLD, NEW, error);

    return rewritten != NULL;
}

static gboolean
startable_call(WkConnection *own, const char *id, GError **error)
{
    g_autofree char *xml = guest_xml();

    return wk_domain_check_startable(own, id, xml, error);
}

static gboolean (*const calls[])(WkConnection *own, const char *id, GError **error) = {
    look_call,
    facts_call,
    progress_call,
    set_op_call,
    set_paused_call,
    read_call,
    rewrite_call,
    startable_call,
    wk_domain_suspend,
    wk_domain_resume,
    wk_domain_destroy,
    wk_domain_shutdown,
    wk_domain_managed_save,
    wk_domain_managed_save_remove,
    wk_domain_abort_job,
    wk_domain_sync_time,
    wk_domain_make_persistent,
};

/* Stopped, so that the request is met but not served, then killed: nothing was done, it is said
 * so, and the next helper serves. */
static void
test_killed_at_each_call(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
        Call call = { .func = calls[i] };
        pid_t pid;

        assert_power(WK_POWER_RUNNING, OP);
        pid = find_helper();
        assert_int_equal(kill(pid, SIGSTOP), 0);
        call_start(&call);
        g_usleep(20 * 1000); /* sent or not, the answer is the same */
        assert_int_equal(kill(pid, SIGKILL), 0);
        call_join(&call);
        assert_false(call.success);
        assert_true(g_error_matches(call.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
        g_clear_error(&call.error);
    }
    assert_power(WK_POWER_RUNNING, OP);
}

static void
meet_progress(const Call *save)
{
    guint64 done = 0;
    guint64 total = 0;

    while (done == 0 && !g_atomic_int_get(&save->done))
        (void)wk_domain_job_progress(connection, ID, &done, &total, NULL);
    print_message("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes\n", done, total);
    assert_true(done > 0);
    assert_true(total > 256 << 20);
}

/* libvirt goes on with the save of a client that is gone; the next helper sees its job. */
static void
test_killed_in_a_save(void **state G_GNUC_UNUSED)
{
    Call save = { .func = wk_domain_managed_save };
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_suspend(connection, ID, &error));
    call_start(&save);
    meet_progress(&save);
    assert_int_equal(kill(find_helper(), SIGKILL), 0);
    call_join(&save);
    assert_true(g_error_matches(save.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    g_clear_error(&save.error);
    lab_ok(wk_domain_look(connection, ID, &look, &error));
    assert_true(look.job);
    lab_ok(wk_domain_abort_job(connection, ID, &error));
    while (look.job)
        lab_ok(wk_domain_look(connection, ID, &look, &error));
    assert_int_equal(look.power, WK_POWER_PAUSED);
    lab_ok(wk_domain_resume(connection, ID, &error));
}

/* Hung in a call that may last for ever: a ping that is not answered ends it. */
static void
test_hung_in_a_save(void **state G_GNUC_UNUSED)
{
    Call save = { .func = wk_domain_managed_save };
    const gint64 before_us = wk_clock_mono_us();
    pid_t pid;

    lab_ok(wk_domain_suspend(connection, ID, &error));
    pid = find_helper();
    assert_int_equal(kill(pid, SIGSTOP), 0);
    call_start(&save);
    call_join(&save);
    assert_true(g_error_matches(save.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    print_message("%s, after %d s\n", save.error->message,
                  (int)((wk_clock_mono_us() - before_us) / G_USEC_PER_SEC));
    g_clear_error(&save.error);
    assert_true(wk_clock_mono_us() - before_us < 25 * G_USEC_PER_SEC);
    assert_power(WK_POWER_PAUSED, OP);
    lab_ok(wk_domain_resume(connection, ID, &error));
}

/* An empty file of the vault's at the managed path: what libvirt writes lands in it. */
static void
prelink(struct stat *st)
{
    const int fd = open(VAULT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fchown(fd, USER, USER), 0);
    assert_int_equal(fstat(fd, st), 0);
    close(fd);
    assert_int_equal(link(VAULT, IMAGE), 0);
}

static void
test_abort(void **state G_GNUC_UNUSED)
{
    Call save = { .func = wk_domain_managed_save };
    struct stat st;

    prelink(&st);
    lab_ok(wk_domain_suspend(connection, ID, &error));
    call_start(&save);
    meet_progress(&save);
    lab_ok(wk_domain_abort_job(connection, ID, &error));
    call_join(&save);
    assert_false(save.success);
    print_message("%s\n", save.error->message);
    assert_true(g_error_matches(save.error, WK_ERROR, WK_ERROR_CANCELLED));
    g_clear_error(&save.error);
    assert_power(WK_POWER_PAUSED, OP);
    lab_ok(wk_domain_resume(connection, ID, &error));
    (void)unlink(IMAGE);
    (void)unlink(VAULT);
}

/* The XML of an image, as an administrator of the pod would read it. Returns: (transfer full). */
static char *
image_xml(void)
{
    virConnectPtr session = virConnectOpen(URI);
    char *xml = virDomainSaveImageGetXMLDesc(session, IMAGE, 0);

    assert_non_null(xml);
    virConnectClose(session);
    return xml;
}

static void
assert_image(void)
{
    g_autofree char *xml = image_xml();
    g_autofree char *rewritten = NULL;
    g_autofree char *op = NULL;
    g_autoptr(WkFacts) facts = NULL;

    lab_ok(wk_domain_image_read(connection, ID, xml, &op, &facts, &error));
    assert_string_equal(op, OP);
    assert_string_equal(facts->name, GUEST);
    assert_non_null(strstr(xml, PRIVATE "/" OLD "/virt-serial0"));
    lab_ok((rewritten = wk_domain_image_rewrite(connection, ID, xml, OLD, NEW, &error)) != NULL);
    assert_null(strstr(rewritten, OLD));
    assert_non_null(strstr(rewritten, PRIVATE "/" NEW "/virt-serial0"));
}

static void
assert_remove(const struct stat *before)
{
    struct stat st;

    lab_ok(wk_domain_managed_save_remove(connection, ID, &error));
    assert_false(g_file_test(IMAGE, G_FILE_TEST_EXISTS));
    assert_int_equal(stat(VAULT, &st), 0);
    assert_int_equal(st.st_ino, before->st_ino);
    assert_int_equal(st.st_nlink, 1);
    assert_true(st.st_size > 256 << 20);
}

/* The last: after it the guest is gone. */
static void
test_save(void **state G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(URI);
    virDomainPtr domain = find_domain(session);
    struct stat before;
    struct stat st;

    prelink(&before);
    lab_ok(wk_domain_managed_save(connection, ID, &error));
    assert_power(WK_POWER_OFF, NULL);
    assert_int_equal(stat(IMAGE, &st), 0);
    assert_int_equal(st.st_ino, before.st_ino);
    assert_int_equal(st.st_nlink, 2);
    lab_ok(wk_domain_image_set_paused(connection, ID, NULL, &error));
    assert_image();
    assert_int_equal(virDomainUndefine(domain), -1); /* as KubeVirt would find it */
    assert_remove(&before);
    assert_int_equal(virDomainUndefine(domain), 0);
    assert_power(WK_POWER_OFF, NULL);
    virDomainFree(domain);
    virConnectClose(session);
}

/* Every round a helper of its own, connected to libvirt. */
static void
test_rounds(void **state G_GNUC_UNUSED)
{
    const gint64 before_us = wk_clock_mono_us();
    guint descriptors;

    g_clear_pointer(&lease, wk_launcher_lease_free);
    lab_ok(lab_wait("the helper's end", LAB_WAIT_MS, has_no_helper, NULL, &error));
    descriptors = count_descriptors();
    for (int i = 0; i < 200; i++)
        assert_power(WK_POWER_RUNNING, NULL);
    lab_ok(lab_wait("the helper's end", LAB_WAIT_MS, has_no_helper, NULL, &error));
    assert_int_equal(count_descriptors(), descriptors);
    assert_int_equal(wk_launchers_count_helpers(launchers), 0);
    print_message("a helper, one look, its end: %d us\n",
                  (int)((wk_clock_mono_us() - before_us) / 200));
}

/* libvirtd is started anew: another socket, another helper. */
static void
test_libvirt_restarted(void **state G_GNUC_UNUSED)
{
    g_auto(WkLook) look = { 0 };

    assert_power(WK_POWER_RUNNING, NULL);
    lab_ok(lab_kill("launcher", SIGKILL, LAB_WAIT_MS, NULL, &error));
    assert_false(wk_domain_look(connection, ID, &look, NULL));
    start_libvirtd();
    while (!wk_domain_look(connection, ID, &look, NULL))
        g_usleep(10000);
    assert_power(WK_POWER_RUNNING, NULL);
}

/* A libvirt that takes the connection and says nothing: the call's deadline ends it. */
static void
test_deaf_libvirt(void **state G_GNUC_UNUSED)
{
    GPid pid;
    g_auto(WkLook) look = { 0 };
    g_autoptr(GError) late = NULL;
    const gint64 before_us = wk_clock_mono_us();

    g_clear_pointer(&lease, wk_launcher_lease_free);
    pid = lab_pid("launcher");
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_false(wk_domain_look(connection, ID, &look, &late));
    assert_int_equal(kill(pid, SIGCONT), 0);
    print_message("%s, after %d s\n", late->message,
                  (int)((wk_clock_mono_us() - before_us) / G_USEC_PER_SEC));
    assert_true(g_error_matches(late, WK_ERROR, WK_ERROR_UNAVAILABLE));
    lab_ok(lab_wait("the helper's end", LAB_WAIT_MS, has_no_helper, NULL, &error));
}

/* A root launcher's libvirt takes root: the helper is nobody all the same. */
static void
test_root_launcher(void **state G_GNUC_UNUSED)
{
    const LabGuestOptions options = { .memory_mib = 0 };

    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_start(GUEST, &options, &error));
    set_pod("root-pod", "/run/libvirt/libvirt-sock", 0);
    assert_confined(NOBODY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_look),
        TEST(test_confined),
        TEST(test_rounds),
        TEST(test_startable),
        TEST(test_make_persistent),
        TEST(test_libvirt_restarted),
        TEST(test_deaf_libvirt),
        TEST(test_pause),
        TEST(test_killed_at_each_call),
        TEST(test_killed_in_a_save),
        TEST(test_hung_in_a_save),
        TEST(test_abort),
        TEST(test_save),
        TEST(test_root_launcher),
    };

    if (wk_helper_is_asked_for(argc, argv))
        return wk_helper_main(argc, argv);
    return cmocka_run_group_tests_name("virt-launcher", tests, setup_group, NULL);
}
