/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent and a helper say to each other: both ends take what is right, and nothing else. */
#include "config.h"

#include "base/json.h"
#include "unit.h"
#include "virt/helper_wire.h"

#define UUID "0b1f6a3e-8f0c-4c5b-9b0e-1d2c3a4b5c6d"

static void
test_request(void **state G_GNUC_UNUSED)
{
    for (int i = 0; i < WK_HELPER_METHODS; i++) {
        const WkHelperRequest asked = {
            .method = (WkHelperMethod)i, .domain = "ns_vm", .text = "<a b='\"'>\n</a>", .from = "x"
        };
        g_autofree char *line = wk_helper_request_format(7, &asked, NULL);
        g_autoptr(JsonObject) object = NULL;
        WkHelperRequest read;
        guint64 id = 0;

        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        object = wk_helper_request_parse(line, strlen(line) - 1, &id, &read, NULL);
        assert_non_null(object);
        assert_int_equal(id, 7);
        assert_int_equal(read.method, asked.method);
        assert_string_equal(read.domain, asked.domain);
        assert_string_equal(read.text, asked.text);
        assert_string_equal(read.from, asked.from);
        assert_null(read.to);
    }
}

static void
test_request_too_much(void **state G_GNUC_UNUSED)
{
    g_autofree char *longest = g_strnfill(WK_HELPER_XML_MAX, '"');
    g_autofree char *longer = g_strnfill(WK_HELPER_XML_MAX + 1, 'x');
    WkHelperRequest request = { .method = WK_HELPER_READ_IMAGE, .text = longest };
    g_autofree char *line = wk_helper_request_format(1, &request, NULL);
    GError *error = NULL;

    assert_non_null(line);
    assert_true(strlen(line) <= WK_HELPER_LINE_MAX);
    request.text = longer;
    assert_null(wk_helper_request_format(1, &request, &error));
    unit_assert_error(&error, WK_ERROR_CORRUPT, "too long");
    request.text = "\xff";
    assert_null(wk_helper_request_format(1, &request, &error));
    unit_assert_error(&error, WK_ERROR_CORRUPT, "UTF-8");
}

/* Whatever the words are. */
static void
assert_bad(GError **error, WkErrorCode code)
{
    assert_true(g_error_matches(*error, WK_ERROR, (int)code));
    g_clear_error(error);
}

static const char *const bad_requests[] = {
    "",
    "[]",
    "{}",
    "{\"call\":\"ping\"}",
    "{\"id\":1}",
    "{\"id\":1,\"call\":\"format-disk\"}",
    "{\"id\":1,\"call\":7}",
    "{\"id\":-1,\"call\":\"ping\"}",
    "{\"id\":1.5,\"call\":\"ping\"}",
    "{\"id\":\"1\",\"call\":\"ping\"}",
    "{\"id\":1,\"call\":\"look\",\"domain\":{}}",
    "{\"id\":1,\"call\":\"ping\",\"more\":1}",
    "{\"id\":1,\"call\":\"ping\"}{\"id\":2,\"call\":\"ping\"}",
};

static void
test_bad_requests(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad_requests); i++) {
        GError *error = NULL;
        WkHelperRequest request;
        guint64 id;

        assert_null(wk_helper_request_parse(bad_requests[i], strlen(bad_requests[i]), &id, &request,
                                            &error));
        assert_bad(&error, WK_ERROR_INVALID);
    }
}

static const char *const bad_answers[] = {
    "",
    "nonsense",
    "{}",
    "{\"id\":1}",
    "{\"result\":{}}",
    "{\"id\":1,\"result\":[]}",
    "{\"id\":1,\"result\":{},\"error\":{\"message\":\"x\"}}",
    "{\"id\":1,\"error\":{}}",
    "{\"id\":1,\"error\":{\"code\":99,\"message\":\"x\"}}",
    "{\"id\":1,\"error\":{\"code\":-1,\"message\":\"x\"}}",
    "{\"id\":1,\"error\":{\"code\":1,\"message\":[]}}",
    "{\"id\":1,\"error\":{\"message\":\"x\",\"more\":1}}",
    "{\"id\":1,\"result\":{},\"more\":1}",
    "{\"id\":99999999999999999999,\"result\":{}}",
};

static void
test_bad_answers(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad_answers); i++) {
        GError *failed = NULL;
        GError *error = NULL;
        guint64 id;

        assert_null(
            wk_helper_answer_parse(bad_answers[i], strlen(bad_answers[i]), &id, &failed, &error));
        assert_null(failed);
        assert_bad(&error, WK_ERROR_INVALID);
    }
}

/* Returns: (transfer full): the error that @line carries. */
static GError *
read_error(const char *line)
{
    GError *failed = NULL;
    guint64 id = 0;
    g_autoptr(JsonObject) result = wk_helper_answer_parse(line, strlen(line), &id, &failed, NULL);

    assert_non_null(result);
    assert_int_equal(id, 3);
    assert_non_null(failed);
    return failed;
}

static void
test_errors(void **state G_GNUC_UNUSED)
{
    g_autofree char *flood = g_strnfill(100000, '\x01');
    g_autoptr(GError) told = NULL;
    g_autoptr(GError) heard = NULL;
    g_autofree char *line = NULL;

    wk_error_set(&told, WK_ERROR_CANCELLED, "NoSpace", "bad: %s", flood);
    line = wk_helper_error_format(3, told);
    assert_true(strlen(line) < 2048);
    heard = read_error(line);
    assert_int_equal(heard->code, WK_ERROR_CANCELLED);
    assert_string_equal(wk_error_get_reason(heard), "NoSpace");
    assert_ptr_equal(strpbrk(heard->message, "\x01\n"), NULL);
}

/* A hostile helper's words are cut and made printable, its reasons must be known. */
static void
test_hostile_errors(void **state G_GNUC_UNUSED)
{
    g_autofree char *words = g_strnfill(100000, 'w');
    g_autofree char *line = g_strdup_printf(
        "{\"id\":3,\"error\":{\"reason\":\"Rooted\",\"message\":\"a\\n%s\"}}", words);
    g_autoptr(GError) heard = read_error(line);

    assert_int_equal(heard->code, WK_ERROR_FAILED);
    assert_null(wk_error_get_reason(heard));
    assert_null(strchr(heard->message, '\n'));
    assert_true(strlen(heard->message) <= 1024);
}

static void
test_look(void **state G_GNUC_UNUSED)
{
    for (int power = WK_POWER_ABSENT; power <= WK_POWER_STOPPING; power++) {
        const WkLook said = { .power = (WkPower)power, .job = TRUE, .op = (char *)UUID };
        g_autoptr(JsonObject) result = wk_helper_write_look(&said);
        g_auto(WkLook) read = { 0 };

        assert_true(wk_helper_read_look(result, &read, NULL));
        assert_int_equal(read.power, said.power);
        assert_true(read.job);
        assert_false(read.persistent);
        assert_false(read.autostart);
        assert_string_equal(read.op, UUID);
    }
}

/* A mark that is no op of ours says only that: it is somebody's. */
static void
test_foreign_op(void **state G_GNUC_UNUSED)
{
    const WkLook said = { .power = WK_POWER_RUNNING, .op = (char *)"'; drop" };
    g_autoptr(JsonObject) result = wk_helper_write_look(&said);
    g_auto(WkLook) read = { 0 };

    assert_true(wk_helper_read_look(result, &read, NULL));
    assert_string_equal(read.op, "foreign");
}

static const char *const bad_looks[] = {
    "{}",
    "{\"power\":\"\"}",
    "{\"power\":\"?\"}",
    "{\"power\":3}",
    "{\"power\":\"running\",\"job\":\"yes\"}",
    "{\"power\":\"running\",\"op\":\"x\"}",
    "{\"power\":\"running\",\"autostart\":true}",
};

static void
test_bad_looks(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad_looks); i++) {
        g_autoptr(JsonObject) object = wk_json_parse(bad_looks[i], -1, 1000, NULL);
        g_auto(WkLook) look = { .power = WK_POWER_PAUSED };
        GError *error = NULL;

        assert_false(wk_helper_read_look(object, &look, &error));
        unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "nonsense");
        assert_int_equal(look.power, WK_POWER_PAUSED);
    }
}

static WkFacts *
some_facts(void)
{
    WkFacts *facts = wk_facts_new();

    facts->uuid = g_strdup(UUID);
    facts->name = g_strdup("ns_vm");
    facts->memory_kib = 1048576;
    facts->machine = g_strdup("q35");
    wk_facts_add_disk(facts, WK_DISK_FILE, "/var/run/a.img", "vda", FALSE, TRUE);
    wk_facts_add_disk(facts, WK_DISK_NETWORK, NULL, "vdb", TRUE, FALSE);
    g_ptr_array_add(facts->devices, g_strdup("pci 0000:01"));
    g_ptr_array_add(facts->shares, g_strdup("/srv"));
    return facts;
}

static void
test_image(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkFacts) said = some_facts();
    g_autoptr(JsonObject) result = wk_helper_write_image(UUID, said);
    g_autoptr(WkFacts) read = NULL;
    g_autofree char *op = NULL;
    const WkDiskFact *disk;

    assert_true(wk_helper_read_image(result, &op, &read, NULL));
    assert_string_equal(op, UUID);
    assert_string_equal(read->name, "ns_vm");
    assert_int_equal(read->memory_kib, 1048576);
    assert_null(read->emulator);
    assert_string_equal(read->machine, "q35");
    assert_int_equal(read->disks->len, 2);
    disk = g_ptr_array_index(read->disks, 0);
    assert_string_equal(disk->path, "/var/run/a.img");
    assert_true(disk->transient);
    disk = g_ptr_array_index(read->disks, 1);
    assert_int_equal(disk->kind, WK_DISK_NETWORK);
    assert_true(disk->readonly);
    assert_string_equal(g_ptr_array_index(read->devices, 0), "pci 0000:01");
    assert_string_equal(g_ptr_array_index(read->shares, 0), "/srv");
    assert_true(wk_helper_read_image(result, NULL, NULL, NULL));
}

/* What stands for each "@" of a list that is right otherwise. */
#define LISTS "\"devices\":[],\"shares\":[]"
#define HEAD  "{\"uuid\":\"" UUID "\",\"name\":\"n\","
static const char *const bad_facts[] = {
    "{}",
    "{\"uuid\":\"x\",\"name\":\"n\",\"disks\":[]," LISTS "}",
    "{\"uuid\":\"" UUID "\",\"disks\":[]," LISTS "}",
    "{\"uuid\":\"" UUID "\",\"name\":\"a\\nb\",\"disks\":[]," LISTS "}",
    HEAD "\"disks\":{}," LISTS "}",
    HEAD "\"disks\":[1]," LISTS "}",
    HEAD "\"disks\":[{}]," LISTS "}",
    HEAD "\"disks\":[{\"kind\":\"file\",\"target\":\"vda\"}]," LISTS "}",
    HEAD "\"disks\":[{\"kind\":\"file\",\"path\":\"a\",\"target\":\"vda\"}]," LISTS "}",
    HEAD "\"disks\":[{\"kind\":\"tape\",\"path\":\"/a\",\"target\":\"vda\"}]," LISTS "}",
    HEAD "\"disks\":[{\"kind\":\"file\",\"path\":\"/a\"}]," LISTS "}",
    HEAD "\"disks\":[],\"devices\":[{}],\"shares\":[]}",
    HEAD "\"disks\":[],\"devices\":[],\"shares\":[null]}",
    HEAD "\"disks\":[],\"devices\":[]}",
    HEAD "\"memoryKib\":-1,\"disks\":[]," LISTS "}",
    HEAD "\"memoryKib\":9223372036854775807,\"disks\":[]," LISTS "}",
    HEAD "\"disks\":[]," LISTS ",\"more\":0}",
};

static void
assert_bad_facts(const char *text)
{
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, 1 << 20, NULL);
    GError *error = NULL;

    assert_non_null(object);
    assert_null(wk_helper_read_facts(object, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "nonsense");
}

static void
test_bad_facts(void **state G_GNUC_UNUSED)
{
    g_autoptr(GString) many = g_string_new(HEAD "\"disks\":[],\"shares\":[],\"devices\":[\"a\"");
    g_autofree char *name = g_strnfill(5000, 'n');
    g_autofree char *long_name =
        g_strdup_printf("{\"uuid\":\"" UUID "\",\"name\":\"%s\",\"disks\":[]," LISTS "}", name);

    for (gsize i = 0; i < G_N_ELEMENTS(bad_facts); i++)
        assert_bad_facts(bad_facts[i]);
    for (int i = 0; i < 600; i++)
        g_string_append(many, ",\"a\"");
    g_string_append(many, "]}");
    assert_bad_facts(many->str);
    assert_bad_facts(long_name);
}

static void
test_progress_and_text(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) progress = wk_helper_write_progress(3, 10);
    g_autoptr(JsonObject) over = wk_helper_write_progress(11, 10);
    g_autoptr(JsonObject) text = wk_helper_write_text("<domain/>");
    g_autofree char *read = wk_helper_read_text(text, NULL);
    guint64 done = 0;
    guint64 total = 0;

    assert_true(wk_helper_read_progress(progress, &done, &total, NULL));
    assert_int_equal(done, 3);
    assert_int_equal(total, 10);
    assert_false(wk_helper_read_progress(over, &done, &total, NULL));
    assert_false(wk_helper_read_progress(text, &done, &total, NULL));
    assert_string_equal(read, "<domain/>");
    assert_null(wk_helper_read_text(progress, NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),      cmocka_unit_test(test_request_too_much),
        cmocka_unit_test(test_bad_requests), cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_errors),       cmocka_unit_test(test_hostile_errors),
        cmocka_unit_test(test_look),         cmocka_unit_test(test_foreign_op),
        cmocka_unit_test(test_bad_looks),    cmocka_unit_test(test_image),
        cmocka_unit_test(test_bad_facts),    cmocka_unit_test(test_progress_and_text),
    };

    return cmocka_run_group_tests_name("virt-helper-wire", tests, NULL, NULL);
}
