/* SPDX-License-Identifier: Apache-2.0 */
/* What the real agent answers is what data/openapi.yaml promises, whatever a guest is at. */
#include "e2e.h"

#include <unistd.h>

#define GUEST   "api"
#define URL     "/v1/guests/" GUEST
#define TO_DISK "{\"target\":\"disk\"}"
#define ANSWER  LAB_DIR "/answer"
#define MISSING 77 /* validate.py: a module of Python's that it needs */

/* validate.py is told what was asked and answered. */
static void
validate(const char *method, const char *path, int status, const char *answer)
{
    g_autofree char *number = g_strdup_printf("%d", status);
    const char *const argv[] = { "sh",
                                 "-c",
                                 "exec python3 -B \"$WK_SRCDIR/tests/api/validate.py\" "
                                 "\"$WK_SRCDIR/data/openapi.yaml\" \"$@\" <" ANSWER,
                                 "sh",
                                 method,
                                 path,
                                 number,
                                 NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(g_file_set_contents(ANSWER, answer, -1, &error));
    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    unlink(ANSWER);
    if (output.status == MISSING)
        skip();
    if (output.status != 0)
        fail_msg("%s%s", output.err, answer);
}

static void
ask(const char *method, const char *path, const char *body, int status)
{
    g_autofree char *answer = NULL;
    const int got = lab_http(method, path, body, &answer, NULL);

    if (got != status)
        fail_msg("%s %s: %d instead of %d: %s", method, path, got, status, answer);
    validate(method, path, status, answer);
}

/* Everything that can be read, as it is now. */
static void
read_all(void)
{
    ask("GET", "/v1/guests", NULL, 200);
    ask("GET", URL, NULL, 200);
    ask("GET", "/v1/operations", NULL, 200);
    ask("GET", "/v1/images", NULL, 200);
    ask("GET", "/v1/doctor", NULL, 200);
}

static void
expect_metric(const char *line)
{
    g_autofree char *answer = NULL;
    g_autofree char *whole = g_strdup_printf("\n%s", line);

    assert_int_equal(lab_http("GET", "/metrics", NULL, &answer, NULL), 200);
    if (strstr(answer, whole) == NULL)
        fail_msg("no '%s' in the metrics:\n%s", line, answer);
}

static void
test_metrics(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    expect_metric("wukong_guests{state=\"Running\"} 1\n");
    expect_metric("wukong_source_up{source=\"host\"} 1\n");
    expect_metric("wukong_vault_free_bytes ");
    expect_metric("wukong_saved_bytes 0\n");
    e2e_ctl_says(0, "", "suspend", GUEST, "--to", "disk", NULL);
    expect_metric("wukong_guests{state=\"Suspended\"} 1\n");
    expect_metric("wukong_operations_total{action=\"suspend\",target=\"disk\","
                  "result=\"succeeded\",reason=\"SavedToDisk\"} 1\n");
    expect_metric("wukong_operation_duration_seconds_bucket{action=\"suspend\",target=\"disk\","
                  "le=\"+Inf\"} 1\n");
    expect_metric("wukong_image_verify_failures_total 0\n");
    e2e_flip_byte_unseen(hold, -4096);
    id = e2e_submit(GUEST, "resume", NULL);
    e2e_wait_end(id, "state", "failed", NULL);
    e2e_check_guest(GUEST, "restorable", "false", NULL);
    expect_metric("wukong_image_verify_failures_total 1\n");
}

static void
test_node(void **state G_GNUC_UNUSED)
{
    ask("GET", "/v1/node", NULL, 200);
    ask("GET", "/healthz", NULL, 200);
    ask("GET", "/readyz", NULL, 200);
    ask("GET", "/metrics", NULL, 200);
    ask("GET", "/v1/guests", NULL, 200);
}

static void
test_in_memory(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;
    g_autofree char *path = NULL;
    g_autofree char *watch = NULL;

    e2e_guest_start(GUEST);
    read_all();
    ask("POST", URL "/suspend", "{\"target\":\"memory\",\"dryRun\":true}", 200);
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"memory\"}");
    e2e_wait_end(id, "state", "succeeded", NULL);
    read_all();
    path = g_strdup_printf("/v1/operations/%s", id);
    watch = g_strdup_printf("%s?watch=1", path);
    ask("GET", path, NULL, 200);
    ask("GET", watch, NULL, 200); /* a finished one ends its stream at once */
    ask("POST", URL "/suspend", "{\"target\":\"memory\"}", 202);
    ask("POST", URL "/resume", NULL, 202);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "operation", "", NULL);
    read_all();
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", NULL);
    ask("GET", URL, NULL, 200);
}

static void
test_on_disk(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *id = NULL;

    e2e_guest_start_filled(GUEST, 16);
    e2e_brake_on();
    ask("POST", URL "/suspend", TO_DISK, 202);
    e2e_brake_wait(1);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "progressPercent", "*1", NULL);
    read_all();
    ask("POST", URL "/resume", "{\"timeoutSeconds\":30}", 202); /* queued behind it, and ends it */
    read_all();
    e2e_brake_off();
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "operation", "", NULL);
    read_all();
    id = e2e_submit(GUEST, "suspend", TO_DISK);
    e2e_wait_end(id, "state", "succeeded", NULL);
    read_all();
    ask("GET", "/metrics", NULL, 200);
    e2e_flip_byte_unseen(hold, -4096);
    g_free(id);
    id = e2e_submit(GUEST, "resume", NULL);
    e2e_wait_end(id, "state", "failed", NULL);
    e2e_check_guest(GUEST, "restorable", "false", NULL);
    read_all();
    ask("POST", URL "/discard", NULL, 202);
}

static void
test_cancelled(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;
    g_autofree char *path = NULL;

    e2e_guest_start(GUEST);
    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", TO_DISK);
    e2e_brake_wait(1);
    ask("POST", URL "/cancel", NULL, 202);
    e2e_wait_end(id, "state", "cancelled", NULL);
    e2e_brake_off();
    path = g_strdup_printf("/v1/operations/%s", id);
    ask("GET", path, NULL, 200);
    read_all();
}

static void
test_libvirtd_away(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    lab_ok(lab_libvirtd_kill(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Unknown", NULL);
    read_all();
    ask("POST", URL "/suspend", TO_DISK, 503);
    ask("GET", "/metrics", NULL, 200);
}

static void
test_problems(void **state G_GNUC_UNUSED)
{
    g_autofree char *large = g_strnfill(5 * 1024 * 1024, ' ');

    e2e_guest_start(GUEST);
    ask("GET", "/v1/guests/nobody", NULL, 404);
    ask("GET", "/v1/operations/nothing", NULL, 404);
    ask("POST", "/v1/guests/nobody/resume", NULL, 404);
    ask("GET", "/v1/nothing", NULL, 404);
    ask("DELETE", URL, NULL, 405);
    ask("POST", URL "/suspend", "{", 400);
    ask("POST", URL "/suspend", "{\"target\":\"moon\"}", 400);
    ask("POST", URL "/suspend", large, 413);
    ask("POST", URL "/cancel", NULL, 409);
    ask("POST", URL "/discard", NULL, 422);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", NULL);
    ask("POST", URL "/resume", NULL, 409);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_node),     e2e_test(test_metrics),   e2e_test(test_in_memory),
        e2e_test(test_on_disk),  e2e_test(test_cancelled), e2e_test(test_libvirtd_away),
        e2e_test(test_problems),
    };

    return e2e_main(tests);
}
