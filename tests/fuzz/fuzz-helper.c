/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "virt/helper_wire.h"

#include <stdint.h>
#include <string.h>

/*
 * libFuzzer: any line as the answer of a launcher's helper, which a tenant may have taken over:
 * ./dev fuzz helper. The answer's result is then read as whatever may have been asked for.
 *
 * What is taken is within its bounds, can be shown, and says the same once it was written and read
 * again; a refusal is an error that can be shown, and leaves what it was to fill as it was.
 */

#define MESSAGE_LIMIT 4096
#define ITEMS_LIMIT   512
#define STRING_LIMIT  4096
#define MEMORY_LIMIT  (G_GUINT64_CONSTANT(1) << 42)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_error(const GError *error)
{
    g_assert(error != NULL && error->domain == WK_ERROR);
    g_assert(error->code >= WK_ERROR_FAILED && error->code <= WK_ERROR_CORRUPT);
    g_assert(g_utf8_validate(error->message, -1, NULL));
    g_assert(strlen(error->message) < MESSAGE_LIMIT);
}

/* Of a reader of results: a helper that talks nonsense is no better than none. */
static void
check_refused(const GError *error)
{
    check_error(error);
    g_assert(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
}

static void
check_text(const char *text)
{
    if (text == NULL)
        return;
    g_assert(strlen(text) <= STRING_LIMIT && g_utf8_validate(text, -1, NULL));
    for (const char *c = text; *c != '\0'; c++)
        g_assert(!g_ascii_iscntrl(*c));
}

static void
check_texts(GPtrArray *texts)
{
    g_assert(texts->len <= ITEMS_LIMIT);
    for (guint i = 0; i < texts->len; i++) {
        g_assert(g_ptr_array_index(texts, i) != NULL);
        check_text(g_ptr_array_index(texts, i));
    }
}

static void
check_op(const char *op)
{
    g_assert(op == NULL || g_uuid_string_is_valid(op) || g_str_equal(op, "foreign"));
}

static void
check_facts(const WkFacts *facts)
{
    g_assert(g_uuid_string_is_valid(facts->uuid) && facts->name != NULL);
    g_assert(facts->memory_kib <= MEMORY_LIMIT);
    check_text(facts->name);
    check_text(facts->emulator);
    check_text(facts->machine);
    check_texts(facts->devices);
    check_texts(facts->shares);
    g_assert(facts->disks->len <= ITEMS_LIMIT);
    for (guint i = 0; i < facts->disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(facts->disks, i);

        g_assert(disk->kind == WK_DISK_NETWORK || *disk->path == '/');
        g_assert(disk->target != NULL);
        check_text(disk->path);
        check_text(disk->target);
    }
}

/* What is written of it is read again as the same. */
static void
check_facts_again(const WkFacts *facts)
{
    g_autoptr(JsonObject) written = wk_helper_write_facts(facts);
    g_autoptr(WkFacts) again = wk_helper_read_facts(written, NULL);

    if (*facts->name == '\0')
        return; /* an empty text is left out, and a guest has a name */
    g_assert(again != NULL);
    g_assert(again->disks->len == facts->disks->len && again->devices->len == facts->devices->len);
    g_assert(g_str_equal(again->uuid, facts->uuid) && again->memory_kib == facts->memory_kib);
}

static void
read_facts(JsonObject *result)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkFacts) facts = wk_helper_read_facts(result, &error);

    if (facts == NULL) {
        check_refused(error);
        return;
    }
    check_facts(facts);
    check_facts_again(facts);
}

static void
read_look(JsonObject *result)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) written = NULL;
    g_auto(WkLook) look = { .power = WK_POWER_CRASHED };
    g_auto(WkLook) again = { 0 };

    if (!wk_helper_read_look(result, &look, &error)) {
        check_refused(error);
        g_assert(look.power == WK_POWER_CRASHED && look.op == NULL);
        return;
    }
    check_op(look.op);
    written = wk_helper_write_look(&look);
    g_assert(wk_helper_read_look(written, &again, NULL));
    g_assert(again.power == look.power && again.job == look.job
             && again.persistent == look.persistent && g_strcmp0(again.op, look.op) == 0);
}

static void
read_progress(JsonObject *result)
{
    g_autoptr(GError) error = NULL;
    guint64 done = 1;
    guint64 total = 2;

    if (!wk_helper_read_progress(result, &done, &total, &error)) {
        check_refused(error);
        g_assert(done == 1 && total == 2);
        return;
    }
    g_assert(total > 0 && done <= total);
}

static void
read_image(JsonObject *result)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkFacts) facts = NULL;
    g_autofree char *op = NULL;

    if (!wk_helper_read_image(result, &op, &facts, &error)) {
        check_refused(error);
        g_assert(op == NULL && facts == NULL);
        return;
    }
    check_op(op);
    check_facts(facts);
}

static void
read_text(JsonObject *result)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = wk_helper_read_text(result, &error);

    if (text == NULL)
        check_refused(error);
    else
        g_assert(strlen(text) <= WK_HELPER_XML_MAX && g_utf8_validate(text, -1, NULL));
}

/* The other way: the helper reads what root asks, and root may be older or newer. */
static void
read_request(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    WkHelperRequest request;
    guint64 id = 0;
    g_autoptr(JsonObject) object =
        wk_helper_request_parse((const char *)data, size, &id, &request, &error);

    if (object == NULL)
        check_error(error);
    else
        g_assert(request.method < WK_HELPER_METHODS && id <= G_MAXINT64);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) failed = NULL;
    g_autoptr(JsonObject) result = NULL;
    guint64 id = 0;

    read_request(data, size);
    result = wk_helper_answer_parse((const char *)data, size, &id, &failed, &error);
    if (result == NULL) {
        check_error(error);
        g_assert(failed == NULL);
        return 0;
    }
    g_assert(id <= G_MAXINT64);
    if (failed != NULL) {
        check_error(failed);
        return 0;
    }
    read_look(result);
    read_facts(result);
    read_progress(result);
    read_image(result);
    read_text(result);
    return 0;
}
