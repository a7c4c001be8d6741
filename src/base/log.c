/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/log.h"

#include "base/names.h"

#include <stdio.h>
#include <unistd.h>

static const char *const level_names[] = {
    [WK_LOG_ERROR] = "error",
    [WK_LOG_WARNING] = "warning",
    [WK_LOG_INFO] = "info",
    [WK_LOG_DEBUG] = "debug",
};

/* GLib's own idea of the same levels; ERROR there would abort. */
static const GLogLevelFlags glib_levels[] = {
    [WK_LOG_ERROR] = G_LOG_LEVEL_CRITICAL,
    [WK_LOG_WARNING] = G_LOG_LEVEL_MESSAGE,
    [WK_LOG_INFO] = G_LOG_LEVEL_INFO,
    [WK_LOG_DEBUG] = G_LOG_LEVEL_DEBUG,
};

/* journald's priorities, <syslog.h>. */
static const char *const priorities[] = {
    [WK_LOG_ERROR] = "3",
    [WK_LOG_WARNING] = "4",
    [WK_LOG_INFO] = "6",
    [WK_LOG_DEBUG] = "7",
};

static gint threshold = WK_LOG_INFO; /* atomic */
static gboolean to_journal;

static WkLogLevel
level_of(GLogLevelFlags flags)
{
    if (flags & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
        return WK_LOG_ERROR;
    if (flags & (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE))
        return WK_LOG_WARNING;
    return flags & G_LOG_LEVEL_INFO ? WK_LOG_INFO : WK_LOG_DEBUG;
}

static const char *
field_of(const GLogField *fields, gsize n_fields, const char *key)
{
    for (gsize i = 0; i < n_fields; i++) {
        if (g_str_equal(fields[i].key, key) && fields[i].length < 0)
            return fields[i].value;
    }
    return NULL;
}

/* Debug lines are ours only: libraries tell of every handle they touch. */
static gboolean
is_chatter(WkLogLevel level, const GLogField *fields, gsize n_fields)
{
    return level == WK_LOG_DEBUG
           && g_strcmp0(field_of(fields, n_fields, "GLIB_DOMAIN"), G_LOG_DOMAIN) != 0;
}

static GLogWriterOutput
write_line(GLogLevelFlags flags, const GLogField *fields, gsize n_fields,
           gpointer user_data G_GNUC_UNUSED)
{
    const WkLogLevel level = level_of(flags);
    g_autofree char *text = NULL;
    const char *guest;

    if ((gint)level > g_atomic_int_get(&threshold) || is_chatter(level, fields, n_fields))
        return G_LOG_WRITER_HANDLED;
    if (to_journal && g_log_writer_journald(flags, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
        return G_LOG_WRITER_HANDLED;
    text = wk_name_printable(field_of(fields, n_fields, "MESSAGE"));
    guest = field_of(fields, n_fields, "WUKONG_VM");
    (void)fprintf(stderr, "wukongd: %s: %s%s%s%s\n", level_names[level], text,
                  guest != NULL ? " [guest " : "", guest != NULL ? guest : "",
                  guest != NULL ? "]" : "");
    return G_LOG_WRITER_HANDLED;
}

void
wk_log_init(WkLogLevel level)
{
    wk_log_set_level(level);
    to_journal = g_log_writer_is_journald(STDERR_FILENO);
    g_log_set_writer_func(write_line, NULL, NULL);
}

void
wk_log_set_level(WkLogLevel level)
{
    g_atomic_int_set(&threshold, (gint)level);
}

gboolean
wk_log_parse_level(const char *name, WkLogLevel *level, GError **error)
{
    int value;

    if (!wk_name_parse(level_names, G_N_ELEMENTS(level_names), "log level", name, &value, error))
        return FALSE;
    *level = (WkLogLevel)value;
    return TRUE;
}

static void
add_field(GLogField *fields, gsize *n, const char *key, const char *value)
{
    if (value != NULL)
        fields[(*n)++] = (GLogField){ key, value, -1 };
}

void
wk_log(WkLogLevel level, const WkLogFields *about, const char *format, ...)
{
    static const WkLogFields nothing;
    const WkLogFields *extra = about != NULL ? about : &nothing;
    g_autofree char *text = NULL;
    GLogField fields[9];
    gsize n = 0;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    add_field(fields, &n, "MESSAGE", text);
    add_field(fields, &n, "GLIB_DOMAIN", G_LOG_DOMAIN);
    add_field(fields, &n, "PRIORITY", priorities[level]);
    add_field(fields, &n, "SYSLOG_IDENTIFIER", "wukongd");
    add_field(fields, &n, "WUKONG_VM", extra->guest);
    add_field(fields, &n, "WUKONG_UUID", extra->uuid);
    add_field(fields, &n, "WUKONG_ACTION", extra->action);
    add_field(fields, &n, "WUKONG_RESULT", extra->result);
    g_log_structured_array(glib_levels[level], fields, n);
}
