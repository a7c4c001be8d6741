/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/check.h"

#include "base/names.h"

static const char *const level_names[] = {
    [WK_CHECK_OK] = "ok",
    [WK_CHECK_WARNING] = "warning",
    [WK_CHECK_ERROR] = "error",
};

const char *
wk_check_level_name(WkCheckLevel level)
{
    return wk_name_of(level_names, G_N_ELEMENTS(level_names), (int)level);
}

WkCheck *
wk_check_new(const char *name, WkCheckLevel level, const char *message, const char *next_step)
{
    WkCheck *self = g_new0(WkCheck, 1);

    self->name = g_strdup(name);
    self->level = level;
    self->message = g_strdup(message);
    self->next_step = g_strdup(next_step);
    return self;
}

void
wk_check_free(WkCheck *self)
{
    if (self == NULL)
        return;
    g_free(self->name);
    g_free(self->message);
    g_free(self->next_step);
    g_free(self);
}
