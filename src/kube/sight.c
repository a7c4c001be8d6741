/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/sight.h"

/* More are not kept: the oldest is forgotten, which costs a needless write at worst. */
#define ECHOES_MAX 8
#define HELD_MAX   64

struct _WkSight {
    WkWukong *shown;   /* NULL: nothing seen yet */
    WkWukong *doubt;   /* newest that is not believed; NULL: none */
    GPtrArray *held;   /* (element-type utf8): told while a write was under way, in order */
    GPtrArray *echoes; /* (element-type utf8): answered, not told by the watch yet, in order */
};

WkSight *
wk_sight_new(void)
{
    WkSight *self = g_new0(WkSight, 1);

    self->held = g_ptr_array_new_with_free_func(g_free);
    self->echoes = g_ptr_array_new_with_free_func(g_free);
    return self;
}

void
wk_sight_free(WkSight *self)
{
    if (self == NULL)
        return;
    wk_wukong_free(self->shown);
    wk_wukong_free(self->doubt);
    g_ptr_array_unref(self->held);
    g_ptr_array_unref(self->echoes);
    g_free(self);
}

/* --- what an object says ---------------------------------------------------------------------- */

static void
add_text(GString *text, const char *value)
{
    g_string_append_printf(text, "%s\x1f", value != NULL ? value : "\x1e");
}

char *
wk_sight_status_text(const WkWukong *seen)
{
    g_autoptr(GString) text = g_string_new(NULL);

    add_text(text, seen->seen_state);
    for (gsize i = 0; i < WK_CONDITION_TYPES; i++) {
        const WkSeenCondition *condition = &seen->conditions[i];

        add_text(text, condition->status);
        add_text(text, condition->reason);
        add_text(text, condition->message);
        g_string_append_printf(text, "%" G_GINT64_FORMAT "\x1f", condition->observed_generation);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

char *
wk_sight_meta_text(const WkWukong *seen)
{
    g_autoptr(GString) text = g_string_new(seen->marked_suspended ? "1" : "0");

    add_text(text, seen->seen_mirror);
    add_text(text, seen->saved_on);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *
content_of(const WkWukong *seen)
{
    g_autofree char *status = wk_sight_status_text(seen);
    g_autofree char *meta = wk_sight_meta_text(seen);

    return g_strdup_printf("%" G_GINT64_FORMAT "\x1f%s\x1f%s\x1f%s", seen->generation,
                           seen->intent.raw != NULL ? seen->intent.raw : "", status, meta);
}

static char *
print_of(const WkWukong *seen)
{
    return seen->resource_version != NULL ? g_strdup(seen->resource_version) : content_of(seen);
}

/* --- the rules (sight.h) ---------------------------------------------------------------------- */

static void
believe(WkSight *self, WkWukong *seen)
{
    wk_wukong_free(self->shown);
    self->shown = seen;
}

static void
believe_doubt(WkSight *self)
{
    if (self->doubt != NULL)
        believe(self, g_steal_pointer(&self->doubt));
}

/* The watch has told @print: the echo of that write, and those before it, need not come any more.
 */
static void
strike_echo(WkSight *self, const char *print)
{
    for (guint i = 0; i < self->echoes->len; i++) {
        if (!g_str_equal(g_ptr_array_index(self->echoes, i), print))
            continue;
        g_ptr_array_remove_range(self->echoes, 0, i + 1);
        return;
    }
}

static void
hold(WkSight *self, char *print)
{
    if (self->held->len == HELD_MAX)
        g_ptr_array_remove_index(self->held, 0);
    g_ptr_array_add(self->held, print);
}

gboolean
wk_sight_saw(WkSight *self, const WkWukong *seen, gboolean writing)
{
    g_autofree char *print = print_of(seen);

    g_clear_pointer(&self->doubt, wk_wukong_free);
    self->doubt = wk_wukong_copy(seen);
    if (writing) {
        hold(self, g_steal_pointer(&print));
        return FALSE;
    }
    strike_echo(self, print);
    if (self->echoes->len > 0)
        return FALSE;
    believe_doubt(self);
    return TRUE;
}

/* Goes through what was held. Returns: TRUE when there was anything. */
static gboolean
release(WkSight *self)
{
    gboolean any = self->held->len > 0;

    for (guint i = 0; i < self->held->len; i++)
        strike_echo(self, g_ptr_array_index(self->held, i));
    g_ptr_array_set_size(self->held, 0);
    return any;
}

/* Whether the watch will tell of an object like @print, our write's answer, at all. */
static gboolean
is_echo_to_come(WkSight *self, const char *print)
{
    g_autofree char *before = NULL;

    if (self->held->len > 0)
        return TRUE;
    if (self->echoes->len > 0)
        return !g_str_equal(g_ptr_array_index(self->echoes, self->echoes->len - 1), print);
    before = self->shown != NULL ? print_of(self->shown) : NULL;
    return g_strcmp0(before, print) != 0;
}

void
wk_sight_answered(WkSight *self, WkWukong *answer)
{
    g_autofree char *print = print_of(answer);

    if (is_echo_to_come(self, print)) {
        if (self->echoes->len == ECHOES_MAX)
            g_ptr_array_remove_index(self->echoes, 0);
        g_ptr_array_add(self->echoes, g_steal_pointer(&print));
    }
    believe(self, answer);
    if (release(self) && self->echoes->len == 0)
        believe_doubt(self);
}

void
wk_sight_failed(WkSight *self, gboolean refuted)
{
    (void)release(self);
    if (refuted)
        g_ptr_array_set_size(self->echoes, 0);
    if (self->echoes->len == 0)
        believe_doubt(self);
}

void
wk_sight_trust(WkSight *self)
{
    g_ptr_array_set_size(self->echoes, 0);
    believe_doubt(self);
}

const WkWukong *
wk_sight_get(WkSight *self)
{
    return self->shown;
}

const WkWukong *
wk_sight_get_doubted(WkSight *self)
{
    return self->doubt;
}

const WkWukong *
wk_sight_get_newest(WkSight *self)
{
    return self->doubt != NULL ? self->doubt : self->shown;
}
