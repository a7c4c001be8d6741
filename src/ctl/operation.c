/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/operation.h"

#include "base/json.h"
#include "base/names.h"
#include "base/steps.h"
#include "base/units.h"
#include "ctl/table.h"
#include "wukong/wukong.h"

#include <string.h>

#define BAR_WIDTH 20

static char *
copy_text(JsonObject *object, const char *member)
{
    const char *text = wk_json_get_string(object, member);

    return text != NULL && *text != '\0' ? g_strdup(text) : NULL;
}

/* The step's words; a step of a newer daemon is shown by its name. */
static char *
step_text(const char *name)
{
    for (int i = 0; name != NULL && i < WK_STEP_COUNT; i++) {
        if (g_str_equal(wk_step_name((WkStep)i), name))
            return g_strdup(wk_step_text((WkStep)i));
    }
    return name != NULL && *name != '\0' ? wk_name_printable(name) : NULL;
}

WkCtlOperation *
wk_ctl_operation_new(JsonObject *object)
{
    WkCtlOperation *self = g_new0(WkCtlOperation, 1);

    self->id = copy_text(object, "id");
    self->action = copy_text(object, "action");
    self->target = copy_text(object, "target");
    self->state = copy_text(object, "state");
    self->step = step_text(wk_json_get_string(object, "step"));
    self->reason = copy_text(object, "reason");
    self->message = copy_text(object, "message");
    self->finished_at = copy_text(object, "finishedAt");
    self->percent = wk_json_get_int(object, "progressPercent", -1);
    self->bytes_done = wk_json_get_int(object, "bytesDone", -1);
    self->bytes_total = wk_json_get_int(object, "bytesTotal", -1);
    self->bytes_per_s = wk_json_get_int(object, "bytesPerSecond", -1);
    self->seconds_left = wk_json_get_int(object, "secondsLeft", -1);
    self->final = wukong_operation_is_final(object);
    self->json = wk_json_to_text(object);
    if (self->percent > 100)
        self->percent = 100;
    return self;
}

void
wk_ctl_operation_free(WkCtlOperation *self)
{
    if (self == NULL)
        return;
    g_free(self->id);
    g_free(self->action);
    g_free(self->target);
    g_free(self->state);
    g_free(self->step);
    g_free(self->reason);
    g_free(self->message);
    g_free(self->finished_at);
    g_free(self->json);
    g_free(self);
}

gboolean
wk_ctl_operation_is(const WkCtlOperation *self, const char *state)
{
    return g_strcmp0(self->state, state) == 0;
}

static void
append_part(GString *text, const char *part)
{
    g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", part);
}

/* "320 MB of 800 MB, 410 MB/s, 1 s left"; "" when nothing is known. */
static char *
figures(const WkCtlOperation *self)
{
    GString *text = g_string_new(NULL);

    if (self->bytes_done >= 0 && self->bytes_total > 0) {
        g_autofree char *done = wk_units_format_bytes((guint64)self->bytes_done);
        g_autofree char *total = wk_units_format_bytes((guint64)self->bytes_total);

        g_string_append_printf(text, "%s of %s", done, total);
    }
    if (self->bytes_per_s > 0) {
        g_autofree char *rate = wk_units_format_bytes((guint64)self->bytes_per_s);
        g_autofree char *per_sec = g_strconcat(rate, "/s", NULL);

        append_part(text, per_sec);
    }
    if (self->seconds_left >= 0 && self->seconds_left <= G_MAXINT64 / G_USEC_PER_SEC) {
        g_autofree char *duration =
            self->seconds_left < 60 ? g_strdup_printf("%d s", (int)self->seconds_left)
                                    : wk_units_format_duration(self->seconds_left * G_USEC_PER_SEC);
        g_autofree char *left = g_strconcat(duration, " left", NULL);

        append_part(text, left);
    }
    return g_string_free(text, FALSE);
}

/* What it does right now, in words. */
static const char *
doing(const WkCtlOperation *self)
{
    if (wk_ctl_operation_is(self, "queued"))
        return "waiting for its turn";
    if (self->step != NULL)
        return self->step;
    if (g_strcmp0(self->action, "suspend") == 0)
        return "suspending";
    if (g_strcmp0(self->action, "resume") == 0)
        return "resuming";
    return "working";
}

char *
wk_ctl_operation_progress(const WkCtlOperation *self)
{
    GString *text = g_string_new(doing(self));
    g_autofree char *in_bytes = figures(self);

    if (self->percent >= 0)
        g_string_append_printf(text, " %d%%", (int)self->percent);
    if (*in_bytes != '\0')
        g_string_append_printf(text, " (%s)", in_bytes);
    return g_string_free(text, FALSE);
}

gboolean
wk_ctl_operation_is_news(const WkCtlOperation *before, const WkCtlOperation *now)
{
    if (now->final)
        return FALSE; /* the outcome is printed instead */
    /* Every operation is accepted as queued; that it still is so later is worth a line. */
    if (wk_ctl_operation_is(now, "queued"))
        return before != NULL;
    if (before == NULL || !g_str_equal(doing(before), doing(now)))
        return TRUE;
    return now->percent >= 0 && now->percent / 10 > before->percent / 10;
}

static void
append_bar(GString *text, gint64 percent)
{
    g_string_append_c(text, '[');
    for (int i = 0; i < BAR_WIDTH; i++)
        g_string_append_c(text, i < percent * BAR_WIDTH / 100 ? '#' : '.');
    g_string_append_c(text, ']');
}

char *
wk_ctl_operation_bar(const WkCtlOperation *self, const char *label, guint label_width,
                     guint columns)
{
    g_autoptr(GString) text = g_string_new(label);
    g_autofree char *in_bytes = figures(self);
    const guint width = wk_ctl_text_width(label);
    const gint64 percent = wk_ctl_operation_is(self, "succeeded") ? 100 : self->percent;

    if (width < label_width)
        g_string_append_printf(text, "%*s", (int)(label_width - width), "");
    g_string_append(text, "  ");
    append_bar(text, percent);
    if (percent >= 0)
        g_string_append_printf(text, " %3d%%", (int)percent);
    else
        g_string_append(text, "     ");
    if (self->final) {
        g_string_append_printf(text, "  %s", self->state);
    } else {
        if (*in_bytes != '\0')
            g_string_append_printf(text, "  %s", in_bytes);
        g_string_append_printf(text, "  %s", doing(self));
    }
    return wk_ctl_text_cut(text->str, columns);
}

static char *
own_words(const WkCtlOperation *self)
{
    const char *target = g_strcmp0(self->target, "disk") == 0 ? " to disk" : " to memory";

    if (!wk_ctl_operation_is(self, "succeeded"))
        return g_strdup(self->state);
    if (g_strcmp0(self->action, "suspend") == 0)
        return g_strconcat("suspended", self->target != NULL ? target : "", NULL);
    if (g_strcmp0(self->action, "resume") == 0)
        return g_strdup("resumed");
    if (g_strcmp0(self->action, "discard") == 0)
        return g_strdup("saved state dropped");
    if (g_strcmp0(self->action, "verify") == 0)
        return g_strdup("saved image is good");
    return g_strdup("done");
}

char *
wk_ctl_operation_outcome(const WkCtlOperation *self)
{
    g_autofree char *text = NULL;

    if (self->message == NULL)
        text = own_words(self);
    else if (self->reason == NULL || wk_ctl_operation_is(self, "succeeded")
             || strcasestr(self->message, self->reason) != NULL)
        text = g_strdup(self->message);
    else
        text = g_strdup_printf("%s (%s)", self->message, self->reason);
    return wk_name_printable(text);
}
