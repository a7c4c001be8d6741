/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/intent.h"

#define SUSPEND "{\"action\":\"suspend\"}"
#define RESUME  "{\"action\":\"resume\"}"

/* What is asked for, what is known, and what that comes to. */
typedef struct {
    const char *title;
    struct {
        const char *raw; /* NULL: nothing is asked for, or it is not understood */
        const char *id;
        gboolean wrong;
        gint64 generation;
    } asked;
    struct {
        gboolean row;
        gint64 generation;
        const char *id;
        WkOpState result;
        const char *owed;
    } known;
    const char *mirrored;
    WkIntentVerdict verdict;
} Case;

#define ASK(...)                                                                                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define ROW(...)                                                                                   \
    {                                                                                              \
        TRUE, __VA_ARGS__                                                                          \
    }
#define NO_ROW                                                                                     \
    {                                                                                              \
        FALSE, 0, NULL, WK_OP_QUEUED, NULL                                                         \
    }
#define FRESH_ROW ROW(0, NULL, WK_OP_QUEUED, NULL)

/* clang-format off */
static const Case cases[] = {
    { "nothing asked, nothing known", ASK(NULL, NULL, FALSE, 1), NO_ROW, NULL, WK_INTENT_NOTHING },
    { "nothing asked any more", ASK(NULL, NULL, FALSE, 4), ROW(3, "a", WK_OP_SUCCEEDED, SUSPEND), "a", WK_INTENT_NOTHING },
    { "nothing asked, failed before", ASK(NULL, NULL, FALSE, 3), ROW(3, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_NOTHING },

    { "first time", ASK(SUSPEND, NULL, FALSE, 1), NO_ROW, NULL, WK_INTENT_DO },
    { "first time, guest known", ASK(SUSPEND, NULL, FALSE, 1), FRESH_ROW, NULL, WK_INTENT_DO },
    { "no generation at all is not 'none dealt with'", ASK(SUSPEND, NULL, FALSE, 0), FRESH_ROW, NULL, WK_INTENT_DO },
    { "neither with a result", ASK(SUSPEND, NULL, FALSE, 0), ROW(0, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_DO },
    { "next one", ASK(RESUME, NULL, FALSE, 5), ROW(3, NULL, WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DO },
    { "the same again, after it was removed", ASK(SUSPEND, NULL, FALSE, 5), ROW(3, NULL, WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DO },
    { "generation went back (backup)", ASK(SUSPEND, NULL, FALSE, 2), ROW(7, NULL, WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DO },
    { "went back, failed before", ASK(SUSPEND, NULL, FALSE, 2), ROW(7, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_DO },

    { "this generation succeeded", ASK(SUSPEND, NULL, FALSE, 3), ROW(3, NULL, WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DONE },
    { "this generation failed", ASK(SUSPEND, NULL, FALSE, 3), ROW(3, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_FAILED },
    { "this generation was cancelled", ASK(SUSPEND, NULL, FALSE, 3), ROW(3, NULL, WK_OP_CANCELLED, NULL), NULL, WK_INTENT_FAILED },
    { "this generation has no result yet", ASK(SUSPEND, NULL, FALSE, 3), ROW(3, NULL, WK_OP_QUEUED, NULL), NULL, WK_INTENT_DO },
    { "failed, then the spec changed", ASK(SUSPEND, NULL, FALSE, 4), ROW(3, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_DO },
    { "cancelled, then the spec changed", ASK(SUSPEND, NULL, FALSE, 4), ROW(3, NULL, WK_OP_CANCELLED, NULL), NULL, WK_INTENT_DO },

    { "id done, same generation", ASK(SUSPEND, "a", FALSE, 3), ROW(3, "a", WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DONE },
    { "id done, applied again later", ASK(SUSPEND, "a", FALSE, 9), ROW(3, "a", WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DONE },
    { "id done, generation went back", ASK(SUSPEND, "a", FALSE, 1), ROW(3, "a", WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DONE },
    { "id done, now another action under it", ASK(RESUME, "a", FALSE, 9), ROW(3, "a", WK_OP_SUCCEEDED, SUSPEND), NULL, WK_INTENT_DONE },
    { "id failed, same generation", ASK(SUSPEND, "a", FALSE, 3), ROW(3, "a", WK_OP_FAILED, NULL), NULL, WK_INTENT_FAILED },
    { "id failed, then the spec changed", ASK(SUSPEND, "a", FALSE, 4), ROW(3, "a", WK_OP_FAILED, NULL), NULL, WK_INTENT_DO },
    { "id cancelled, then the spec changed", ASK(SUSPEND, "a", FALSE, 4), ROW(3, "a", WK_OP_CANCELLED, NULL), NULL, WK_INTENT_DO },
    { "another id", ASK(SUSPEND, "b", FALSE, 4), ROW(3, "a", WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DO },
    { "an id after none", ASK(SUSPEND, "b", FALSE, 4), ROW(3, NULL, WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DO },
    { "none after an id", ASK(SUSPEND, NULL, FALSE, 4), ROW(3, "a", WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DO },
    { "another id at the generation dealt with", ASK(SUSPEND, "b", FALSE, 3), ROW(3, "a", WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_DONE },

    { "mirrored id, no row", ASK(SUSPEND, "a", FALSE, 3), NO_ROW, "a", WK_INTENT_DONE },
    { "mirrored id is another", ASK(SUSPEND, "a", FALSE, 3), NO_ROW, "b", WK_INTENT_DO },
    { "mirrored id, none asked", ASK(SUSPEND, NULL, FALSE, 3), NO_ROW, "a", WK_INTENT_DO },
    { "neither has an id", ASK(SUSPEND, NULL, FALSE, 3), NO_ROW, NULL, WK_INTENT_DO },
    { "mirrored id, but a row", ASK(SUSPEND, "a", FALSE, 3), FRESH_ROW, "a", WK_INTENT_DO },
    { "mirrored id, but the row says failed", ASK(SUSPEND, "a", FALSE, 4), ROW(3, "a", WK_OP_FAILED, NULL), "a", WK_INTENT_DO },

    { "owed, same generation", ASK(SUSPEND, NULL, FALSE, 3), ROW(3, NULL, WK_OP_SUCCEEDED, SUSPEND), NULL, WK_INTENT_DONE },
    { "owed, the rest of the spec changed", ASK(SUSPEND, NULL, FALSE, 4), ROW(3, NULL, WK_OP_SUCCEEDED, SUSPEND), NULL, WK_INTENT_DONE },
    { "owed, generation went back", ASK(SUSPEND, NULL, FALSE, 1), ROW(3, NULL, WK_OP_SUCCEEDED, SUSPEND), NULL, WK_INTENT_DONE },
    { "owed, now another is asked", ASK(RESUME, NULL, FALSE, 4), ROW(3, NULL, WK_OP_SUCCEEDED, SUSPEND), NULL, WK_INTENT_DO },

    { "wrong, first time", ASK(NULL, NULL, TRUE, 1), NO_ROW, NULL, WK_INTENT_WRONG },
    { "wrong, mirrored id", ASK(NULL, NULL, TRUE, 1), NO_ROW, "a", WK_INTENT_WRONG },
    { "wrong, said so", ASK(NULL, NULL, TRUE, 3), ROW(3, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_FAILED },
    { "wrong, spec changed", ASK(NULL, NULL, TRUE, 4), ROW(3, NULL, WK_OP_FAILED, NULL), NULL, WK_INTENT_WRONG },
    { "wrong, nothing owed", ASK(NULL, NULL, TRUE, 4), ROW(3, NULL, WK_OP_SUCCEEDED, NULL), NULL, WK_INTENT_WRONG },
    { "wrong, another is owed", ASK(NULL, NULL, TRUE, 4), ROW(3, NULL, WK_OP_SUCCEEDED, SUSPEND), NULL, WK_INTENT_WRONG },
};
/* clang-format on */

static void
make_intent(const Case *c, WkIntent *intent)
{
    intent->present = c->asked.raw != NULL || c->asked.wrong;
    intent->raw = g_strdup(c->asked.raw);
    intent->request_id = g_strdup(c->asked.id);
    if (c->asked.wrong)
        wk_error_set(&intent->error, WK_ERROR_INVALID, NULL, "not understood");
}

static WkBinding *
make_binding(const Case *c)
{
    WkBinding *binding = wk_binding_new("uid", "ns", "name");

    binding->observed_generation = c->known.generation;
    binding->last_request_id = g_strdup(c->known.id);
    binding->result = c->known.result;
    binding->owed = g_strdup(c->known.owed);
    return binding;
}

static void
test_judge(void **state)
{
    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        g_autoptr(WkBinding) binding = c->known.row ? make_binding(c) : NULL;
        WkIntent intent = { 0 };
        WkIntentVerdict verdict;

        make_intent(c, &intent);
        verdict = wk_intent_judge(&intent, c->asked.generation, binding, c->mirrored);
        if (verdict != c->verdict)
            fail_msg("%s: %d, not %d", c->title, (int)verdict, (int)c->verdict);
        wk_intent_clear(&intent);
    }
}

static void
test_clear(void **state)
{
    WkIntent intent = { .present = TRUE, .action = WK_ACTION_SUSPEND, .timeout_s = 3 };

    (void)state;
    intent.request_id = g_strdup("a");
    intent.raw = g_strdup(SUSPEND);
    wk_error_set(&intent.error, WK_ERROR_INVALID, NULL, "wrong");
    wk_intent_clear(&intent);
    assert_false(intent.present);
    assert_int_equal(intent.action, WK_ACTION_NONE);
    assert_int_equal(intent.timeout_s, 0);
    assert_null(intent.request_id);
    assert_null(intent.raw);
    assert_null(intent.error);
    wk_intent_clear(&intent);
}

static void
test_copy(void **state)
{
    g_autoptr(WkBinding) binding = wk_binding_new("uid", "ns", "name");
    g_autoptr(WkBinding) empty = wk_binding_copy(binding);
    g_autoptr(WkBinding) copy = NULL;
    char **const texts[] = { &binding->source, &binding->guest,   &binding->last_request_id,
                             &binding->reason, &binding->message, &binding->owed };

    (void)state;
    assert_null(empty->source);
    assert_null(empty->owed);
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        *texts[i] = g_strdup_printf("text %u", (guint)i);
    binding->result = WK_OP_CANCELLED;
    binding->deleted_at_us = 7;
    copy = wk_binding_copy(binding);
    assert_string_equal(copy->uid, "uid");
    assert_string_equal(copy->ns, "ns");
    assert_string_equal(copy->name, "name");
    assert_string_equal(copy->source, "text 0");
    assert_string_equal(copy->guest, "text 1");
    assert_string_equal(copy->last_request_id, "text 2");
    assert_string_equal(copy->reason, "text 3");
    assert_string_equal(copy->message, "text 4");
    assert_string_equal(copy->owed, "text 5");
    assert_ptr_not_equal(copy->owed, binding->owed);
    assert_int_equal(copy->result, WK_OP_CANCELLED);
    assert_int_equal(copy->deleted_at_us, 7);
    wk_binding_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_copy),
    };

    return cmocka_run_group_tests_name("model-intent", tests, NULL, NULL);
}
