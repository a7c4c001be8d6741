/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/metrics_text.h"

#include <math.h>

struct _WkMetricsText {
    GString *text;
    const char *family;
};

WkMetricsText *
wk_metrics_text_new(void)
{
    WkMetricsText *self = g_new0(WkMetricsText, 1);

    self->text = g_string_new(NULL);
    return self;
}

void
wk_metrics_text_free(WkMetricsText *self)
{
    if (self == NULL)
        return;
    g_string_free(self->text, TRUE);
    g_free(self);
}

void
wk_metrics_text_family(WkMetricsText *self, const char *name, const char *type, const char *help)
{
    self->family = name;
    g_string_append_printf(self->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
add_escaped(GString *text, const char *value)
{
    for (const char *at = value; at != NULL && *at != '\0'; at++) {
        if (*at == '\n') {
            g_string_append(text, "\\n");
            continue;
        }
        if (*at == '"' || *at == '\\')
            g_string_append_c(text, '\\');
        g_string_append_c(text, *at);
    }
}

static void
add_labels(GString *text, va_list labels)
{
    const char *label = va_arg(labels, const char *);
    const char *separator = "{";

    if (label == NULL)
        return;
    for (; label != NULL; label = va_arg(labels, const char *)) {
        g_string_append_printf(text, "%s%s=\"", separator, label);
        add_escaped(text, va_arg(labels, const char *));
        g_string_append_c(text, '"');
        separator = ",";
    }
    g_string_append_c(text, '}');
}

static void
add_value(GString *text, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    if (isinf(value))
        g_string_append(text, value > 0 ? " +Inf\n" : " -Inf\n");
    else
        g_string_append_printf(text, " %s\n",
                               g_ascii_formatd(number, sizeof number, "%.15g", value));
}

void
wk_metrics_text_add(WkMetricsText *self, double value, ...)
{
    va_list labels;

    g_string_append(self->text, self->family);
    va_start(labels, value);
    add_labels(self->text, labels);
    va_end(labels);
    add_value(self->text, value);
}

void
wk_metrics_text_add_part(WkMetricsText *self, const char *suffix, double value, ...)
{
    va_list labels;

    g_string_append_printf(self->text, "%s%s", self->family, suffix);
    va_start(labels, value);
    add_labels(self->text, labels);
    va_end(labels);
    add_value(self->text, value);
}

const char *
wk_metrics_text_get(WkMetricsText *self)
{
    return self->text->str;
}
