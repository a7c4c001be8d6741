/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/failpoint.h"

#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#ifdef WK_FAILPOINTS

typedef enum {
    ACTION_NONE,
    ACTION_KILL,
    ACTION_STOP,
    ACTION_ERROR,
    ACTION_SLEEP,
} Action;

typedef struct {
    Action action;
    int argument; /* errno, or milliseconds */
    int at;       /* the passage that is hit, from 1; EACH: all are */
    gint passed;  /* atomic */
} Failpoint;

#define EACH 0

static Failpoint failpoints[WK_STEP_COUNT];
static char **rules; /* that are off; for the life of the process */

static const struct {
    const char *name;
    int value;
} errnos[] = {
    { "ENOSPC", ENOSPC }, { "EIO", EIO },       { "EROFS", EROFS }, { "EDQUOT", EDQUOT },
    { "EPERM", EPERM },   { "ENOENT", ENOENT }, { "EXDEV", EXDEV }, { "EEXIST", EEXIST },
    { "ENOMEM", ENOMEM }, { "EMFILE", EMFILE }, { "EINTR", EINTR }, { "EACCES", EACCES },
};

static gboolean
parse_number(const char *text, int *value)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT, &number, NULL))
        return FALSE;
    *value = (int)number;
    return TRUE;
}

static gboolean
parse_passage(const char *text, int *at)
{
    if (!g_str_equal(text, "*"))
        return parse_number(text, at);
    *at = EACH;
    return TRUE;
}

static gboolean
parse_action(const char *text, Failpoint *point)
{
    if (g_str_equal(text, "kill"))
        point->action = ACTION_KILL;
    else if (g_str_equal(text, "stop"))
        point->action = ACTION_STOP;
    else if (g_str_has_prefix(text, "sleep:") && parse_number(text + 6, &point->argument))
        point->action = ACTION_SLEEP;
    for (gsize i = 0; g_str_has_prefix(text, "error:") && i < G_N_ELEMENTS(errnos); i++) {
        if (!g_str_equal(text + 6, errnos[i].name))
            continue;
        point->action = ACTION_ERROR;
        point->argument = errnos[i].value;
    }
    return point->action != ACTION_NONE;
}

static WkStep
find_step(const char *name)
{
    for (int step = 0; step < WK_STEP_COUNT; step++) {
        if (g_str_equal(wk_step_name((WkStep)step), name))
            return (WkStep)step;
    }
    return WK_STEP_NONE;
}

static gboolean
parse_one(const char *spec, GError **error)
{
    g_auto(GStrv) halves = g_strsplit(spec, "=", 2);
    g_auto(GStrv) place = g_strsplit(halves[0] != NULL ? halves[0] : "", ":", 2);
    Failpoint point = { .at = 1 };
    WkStep step = place[0] != NULL ? find_step(place[0]) : WK_STEP_NONE;

    if (step == WK_STEP_NONE || halves[1] == NULL || !parse_action(halves[1], &point)
        || (place[1] != NULL && !parse_passage(place[1], &point.at))) {
        wk_error_set(error, WK_ERROR_INVALID, NULL,
                     "WK_FAILPOINT: '%s' is not name[:n|:*]=kill|stop|error:ENAME|sleep:MS "
                     "(names: wukongd --list-failpoints)",
                     spec);
        return FALSE;
    }
    failpoints[step] = point;
    return TRUE;
}

gboolean
wk_failpoint_init(const char *spec, const char *rules_off, GError **error)
{
    g_auto(GStrv) all = g_strsplit(spec != NULL ? spec : "", ",", -1);

    g_strfreev(rules);
    rules = g_strsplit(rules_off != NULL ? rules_off : "", ",", -1);
    for (gsize i = 0; all[i] != NULL; i++) {
        if (!parse_one(all[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
is_hit(Failpoint *point)
{
    return point->action != ACTION_NONE
           && (point->at == EACH || g_atomic_int_add(&point->passed, 1) + 1 == point->at);
}

gboolean
wk_failpoint_pass(WkStep step, GError **error)
{
    Failpoint *point = &failpoints[step];

    if (!is_hit(point))
        return TRUE;
    switch (point->action) {
    case ACTION_KILL:
        kill(getpid(), SIGKILL);
        return TRUE;
    case ACTION_STOP:
        /* To this thread: one for the process may stop another first, and this one runs on into
         * the step. */
        (void)raise(SIGSTOP);
        return TRUE;
    case ACTION_SLEEP:
        g_usleep((gulong)point->argument * 1000);
        return TRUE;
    case ACTION_ERROR:
        wk_error_set_errno(error, point->argument, "%s (failpoint %s)", wk_step_text(step),
                           wk_step_name(step));
        return FALSE;
    case ACTION_NONE:
    default:
        return TRUE;
    }
}

gboolean
wk_rule_holds(const char *name)
{
    return rules == NULL || !g_strv_contains((const char *const *)rules, name);
}

#else

gboolean
wk_failpoint_init(const char *spec, const char *rules_off, GError **error)
{
    if (spec == NULL && rules_off == NULL)
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL,
                 "WK_FAILPOINT or WK_RULE_OFF is set, but this build has no failpoints "
                 "(--enable-failpoints)");
    return FALSE;
}

gboolean
wk_failpoint_pass(WkStep step G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

#endif
