/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/guests.h"
#include "ctl/stream.h"
#include "ctl/view.h"

#include <string.h>

static const char *const states[] = { "Running",  "Suspending", "Suspended",
                                      "Resuming", "Stopped",    "Unknown" };

typedef struct {
    const char *wanted;
    const char *id;
    JsonObject *guest; /* as last told */
    gboolean told;     /* in this stream */
    gboolean gone;
} Wait;

/* State names are taken in any case. Returns: (transfer none), or NULL with wrong usage. */
static const char *
parse_state(const char *text, GError **error)
{
    for (gsize i = 0; text != NULL && i < G_N_ELEMENTS(states); i++) {
        if (g_ascii_strcasecmp(states[i], text) == 0)
            return states[i];
    }
    if (text == NULL)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "--for STATE is needed, as in --for Suspended");
    else
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--for: '%s' is not known: use one of Running, Suspending, Suspended, "
                    "Resuming, Stopped, Unknown",
                    text);
    return NULL;
}

static gboolean
is_reached(const Wait *self)
{
    return g_strcmp0(wk_json_get_string(self->guest, "state"), self->wanted) == 0;
}

static void
on_begin(gpointer user_data)
{
    Wait *self = user_data;

    self->told = FALSE;
}

static gboolean
on_event(JsonObject *event, gpointer user_data)
{
    Wait *self = user_data;
    const char *type = wk_json_get_string(event, "type");
    JsonObject *guest = wk_json_get_object(event, "guest");

    if (guest != NULL && g_strcmp0(wk_json_get_string(guest, "id"), self->id) == 0) {
        json_object_unref(self->guest);
        self->guest = json_object_ref(guest);
        self->told = TRUE;
    }
    if (g_strcmp0(type, "gone") == 0 && g_strcmp0(wk_json_get_string(event, "id"), self->id) == 0)
        self->gone = TRUE;
    /* It went away while the stream was cut. */
    if (g_strcmp0(type, "synced") == 0 && !self->told)
        self->gone = TRUE;
    return !self->gone && !is_reached(self);
}

static void
print(WkCtl *ctl, GPtrArray *all, JsonObject *first, const Wait *wait)
{
    g_autofree char *label = wk_ctl_guest_label(all, first);
    g_autofree char *word = wk_ctl_guest_word(all, first);
    g_autofree char *line = wk_ctl_view_line(wait->guest);
    g_autofree char *json = wk_json_to_text(wait->guest);

    if (ctl->format == WK_CTL_JSON)
        wk_ctl_out_json(ctl, json);
    else if (ctl->format == WK_CTL_NAME)
        wk_ctl_out(ctl, "%s\n", word);
    else
        wk_ctl_out(ctl, "%s: %s\n", label, line);
}

/* Waits unless it is so already. @timeout_s -1: for ever, 0: only look. */
static gboolean
wait_for(WkCtl *ctl, Wait *wait, gint64 timeout_s, GError **error)
{
    const WkCtlStream stream = {
        .func = on_event,
        .begin = on_begin,
        .user_data = wait,
        .was_there = TRUE,
        .timeout_ms = timeout_s > 0 ? (guint)timeout_s * 1000 : 0,
    };

    if (is_reached(wait))
        return TRUE;
    if (timeout_s == 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "not reached");
        return FALSE;
    }
    wk_ctl_die_on_interrupt();
    return wk_ctl_stream_run(ctl, &stream, error);
}

static int
judge(WkCtl *ctl, GPtrArray *all, JsonObject *first, Wait *wait, gint64 timeout_s, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *label = wk_ctl_guest_label(all, first);
    const gboolean ended = wait_for(ctl, wait, timeout_s, &local);

    if (ended && !wait->gone) {
        print(ctl, all, first, wait);
        return WK_EXIT_DONE;
    }
    if (ended)
        g_set_error(error, WUKONG_ERROR, WUKONG_ERROR_NOT_FOUND, "%s: the guest is gone", label);
    else if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
        g_set_error(error, WUKONG_ERROR, WUKONG_ERROR_FAILED, "%s: still %s after %d s, not %s",
                    label, wk_json_get_string(wait->guest, "state"), (int)timeout_s, wait->wanted);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return WK_EXIT_FAILED;
}

static int
wait_one(WkCtl *ctl, const char *word, const char *wanted, gint64 timeout_s, GError **error)
{
    g_autoptr(GPtrArray) all = wk_ctl_fetch_guests(ctl, error);
    JsonObject *guest = all != NULL ? wk_ctl_choose_one(all, word, error) : NULL;
    Wait wait = { .wanted = wanted };
    int status;

    if (guest == NULL)
        return WK_EXIT_FAILED;
    wait.id = wk_json_get_string(guest, "id");
    wait.guest = json_object_ref(guest);
    status = judge(ctl, all, guest, &wait, timeout_s, error);
    json_object_unref(wait.guest);
    return status;
}

static int
run_wait(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autofree char *state = NULL;
    g_autofree char *timeout = NULL;
    guint seconds = 0;
    const char *wanted = NULL;
    const GOptionEntry entries[] = {
        { "for", 0, 0, G_OPTION_ARG_STRING, &state,
          "Running, Suspending, Suspended, Resuming, Stopped or Unknown", "STATE" },
        { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout,
          "Give up after so many seconds (0 to 86400; default: never)", "S" },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error)
        || !wk_ctl_parse_timeout(timeout, 0, &seconds, error))
        return WK_EXIT_USAGE;
    wanted = parse_state(state, error);
    if (wanted == NULL)
        return WK_EXIT_USAGE;
    return wait_one(ctl, args.words[0], wanted, timeout != NULL ? (gint64)seconds : -1, error);
}

const WkCommand wk_cmd_wait = {
    .name = "wait",
    .arguments = "GUEST --for STATE",
    .summary = "Wait until a guest is in a state",
    .min_words = 1,
    .max_words = 1,
    .run = run_wait,
};
