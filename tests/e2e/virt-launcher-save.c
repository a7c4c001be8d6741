/* SPDX-License-Identifier: Apache-2.0 */
/* A launcher source's connection: the helper killed and hung in each call, saves, images. */
#include "config.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt-pod.h"
#include "virt/helper_main.h"
#include "virt/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

    call->success = call->func(pod_connection, POD_ID, &call->error);
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
await_call(WkConnection *own, const char *id, GError **error)
{
    g_auto(WkLook) look = { 0 };

    return wk_domain_await_loaded(own, id, &look, error);
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
    return wk_domain_set_op(own, id, POD_OP, error);
}

static gboolean
set_paused_call(WkConnection *own, const char *id, GError **error)
{
    return wk_domain_image_set_paused(own, id, NULL, error);
}

static gboolean
read_call(WkConnection *own, const char *id, GError **error)
{
    g_autofree char *xml = pod_guest_xml();

    return wk_domain_image_read(own, id, xml, NULL, NULL, error);
}

static gboolean
rewrite_call(WkConnection *own, const char *id, GError **error)
{
    g_autofree char *xml = pod_guest_xml();
    g_autofree char *rewritten = wk_domain_image_rewrite(own, id, xml, POD_OLD, POD_NEW, error);

    return rewritten != NULL;
}

static gboolean
startable_call(WkConnection *own, const char *id, GError **error)
{
    g_autofree char *xml = pod_guest_xml();

    return wk_domain_check_startable(own, id, xml, error);
}

static gboolean (*const calls[])(WkConnection *own, const char *id, GError **error) = {
    look_call,
    await_call,
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
    lab_ok(wk_domain_set_op(pod_connection, POD_ID, POD_OP, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
        Call call = { .func = calls[i] };
        pid_t pid;

        pod_assert_power(WK_POWER_RUNNING, POD_OP);
        pid = pod_find_helper();
        assert_int_equal(kill(pid, SIGSTOP), 0);
        call_start(&call);
        g_usleep(20 * 1000); /* sent or not, the answer is the same */
        assert_int_equal(kill(pid, SIGKILL), 0);
        call_join(&call);
        assert_false(call.success);
        assert_true(g_error_matches(call.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
        g_clear_error(&call.error);
    }
    pod_assert_power(WK_POWER_RUNNING, POD_OP);
}

static void
meet_progress(const Call *save)
{
    guint64 done = 0;
    guint64 total = 0;

    while (done == 0 && !g_atomic_int_get(&save->done))
        (void)wk_domain_job_progress(pod_connection, POD_ID, &done, &total, NULL);
    print_message("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes\n", done, total);
    assert_true(done > 0);
    assert_true(total > POD_FILL_MIB << 20);
}

/* libvirt goes on with the save of a client that is gone; the next helper sees its job. */
static void
test_killed_in_a_save(void **state G_GNUC_UNUSED)
{
    Call save = { .func = wk_domain_managed_save };
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_suspend(pod_connection, POD_ID, &error));
    call_start(&save);
    meet_progress(&save);
    assert_int_equal(kill(pod_find_helper(), SIGKILL), 0);
    call_join(&save);
    assert_true(g_error_matches(save.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    g_clear_error(&save.error);
    lab_ok(wk_domain_look(pod_connection, POD_ID, &look, &error));
    assert_true(look.job);
    lab_ok(wk_domain_abort_job(pod_connection, POD_ID, &error));
    while (look.job)
        lab_ok(wk_domain_look(pod_connection, POD_ID, &look, &error));
    assert_int_equal(look.power, WK_POWER_PAUSED);
    lab_ok(wk_domain_resume(pod_connection, POD_ID, &error));
}

/* Hung in a call that may last for ever: a ping that is not answered ends it. */
static void
test_hung_in_a_save(void **state G_GNUC_UNUSED)
{
    Call save = { .func = wk_domain_managed_save };
    const gint64 before_us = wk_clock_mono_us();
    pid_t pid;

    lab_ok(wk_domain_suspend(pod_connection, POD_ID, &error));
    pid = pod_find_helper();
    assert_int_equal(kill(pid, SIGSTOP), 0);
    call_start(&save);
    call_join(&save);
    assert_true(g_error_matches(save.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    print_message("%s, after %d s\n", save.error->message,
                  (int)((wk_clock_mono_us() - before_us) / G_USEC_PER_SEC));
    g_clear_error(&save.error);
    assert_true(wk_clock_mono_us() - before_us < 25 * G_USEC_PER_SEC);
    pod_assert_power(WK_POWER_PAUSED, POD_OP);
    lab_ok(wk_domain_resume(pod_connection, POD_ID, &error));
}

/* An empty file of the vault's at the managed path: what libvirt writes lands in it. */
static void
prelink(struct stat *st)
{
    const int fd = open(POD_VAULT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fchown(fd, POD_USER, POD_USER), 0);
    assert_int_equal(fstat(fd, st), 0);
    close(fd);
    assert_int_equal(link(POD_VAULT, POD_IMAGE), 0);
}

static void
test_abort(void **state G_GNUC_UNUSED)
{
    Call save = { .func = wk_domain_managed_save };
    struct stat st;

    prelink(&st);
    lab_ok(wk_domain_suspend(pod_connection, POD_ID, &error));
    call_start(&save);
    meet_progress(&save);
    lab_ok(wk_domain_abort_job(pod_connection, POD_ID, &error));
    call_join(&save);
    assert_false(save.success);
    print_message("%s\n", save.error->message);
    assert_true(g_error_matches(save.error, WK_ERROR, WK_ERROR_CANCELLED));
    g_clear_error(&save.error);
    pod_assert_power(WK_POWER_PAUSED, POD_OP);
    lab_ok(wk_domain_resume(pod_connection, POD_ID, &error));
    (void)unlink(POD_IMAGE);
    (void)unlink(POD_VAULT);
}

/* The XML of an image, as an administrator of the pod would read it. Returns: (transfer full). */
static char *
image_xml(void)
{
    virConnectPtr session = virConnectOpen(POD_URI);
    char *xml = virDomainSaveImageGetXMLDesc(session, POD_IMAGE, 0);

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

    lab_ok(wk_domain_image_read(pod_connection, POD_ID, xml, &op, &facts, &error));
    assert_string_equal(op, POD_OP);
    assert_string_equal(facts->name, POD_GUEST);
    assert_non_null(strstr(xml, POD_PRIVATE "/" POD_OLD "/virt-serial0"));
    lab_ok(
        (rewritten = wk_domain_image_rewrite(pod_connection, POD_ID, xml, POD_OLD, POD_NEW, &error))
        != NULL);
    assert_null(strstr(rewritten, POD_OLD));
    assert_non_null(strstr(rewritten, POD_PRIVATE "/" POD_NEW "/virt-serial0"));
}

static void
assert_remove(const struct stat *before)
{
    struct stat st;

    lab_ok(wk_domain_managed_save_remove(pod_connection, POD_ID, &error));
    assert_false(g_file_test(POD_IMAGE, G_FILE_TEST_EXISTS));
    assert_int_equal(stat(POD_VAULT, &st), 0);
    assert_int_equal(st.st_ino, before->st_ino);
    assert_int_equal(st.st_nlink, 1);
    assert_true(st.st_size > POD_FILL_MIB << 20);
}

/* The last: after it the guest is gone. */
static void
test_save(void **state G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(POD_URI);
    virDomainPtr domain = pod_find_domain(session);
    struct stat before;
    struct stat st;

    prelink(&before);
    lab_ok(wk_domain_managed_save(pod_connection, POD_ID, &error));
    pod_assert_power(WK_POWER_OFF, NULL);
    assert_int_equal(stat(POD_IMAGE, &st), 0);
    assert_int_equal(st.st_ino, before.st_ino);
    assert_int_equal(st.st_nlink, 2);
    lab_ok(wk_domain_image_set_paused(pod_connection, POD_ID, NULL, &error));
    assert_image();
    assert_int_equal(virDomainUndefine(domain), -1); /* as KubeVirt would find it */
    assert_remove(&before);
    assert_int_equal(virDomainUndefine(domain), 0);
    pod_assert_power(WK_POWER_OFF, NULL);
    virDomainFree(domain);
    virConnectClose(session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pod_setup, pod_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_killed_at_each_call),
        TEST(test_killed_in_a_save),
        TEST(test_hung_in_a_save),
        TEST(test_abort),
        TEST(test_save),
    };

    if (wk_helper_is_asked_for(argc, argv))
        return wk_helper_main(argc, argv);
    return cmocka_run_group_tests_name("virt-launcher-save", tests, pod_setup_group, NULL);
}
