/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ctl/ctl.h"

G_BEGIN_DECLS

/* What stands behind a command, options taken out. */
typedef struct {
    char **words; /* never NULL */
    gboolean all; /* --all instead of words */
} WkCtlArgs;

void wk_ctl_args_clear(WkCtlArgs *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkCtlArgs, wk_ctl_args_clear)

/* Reads the options before the verb. @rest: the verb and all behind it, in @argv.
 * Returns: FALSE with an error that is wrong usage. --help and --version end the process. */
gboolean wk_ctl_parse_main(WkCtl *ctl, int *argc, char ***argv, GError **error);

/* Reads what stands behind @command: its own @entries (may be NULL), the global options, GUESTs. */
gboolean wk_ctl_parse(WkCtl *ctl, const WkCommand *command, const GOptionEntry *entries, int argc,
                      char **argv, WkCtlArgs *args, GError **error);

/* Whole seconds "90" (or with a unit, "5m") for --timeout; @min .. 86400. NULL: @seconds stays. */
gboolean wk_ctl_parse_timeout(const char *text, guint min, guint *seconds, GError **error);

/* @text must be one of @allowed (NULL-ended), or NULL; @option is named in the error. */
gboolean
wk_ctl_check_word(const char *option, const char *text, const char *const *allowed, GError **error);

/* The help's list of commands. Returns: (transfer full). */
char *wk_ctl_describe_commands(void);

G_END_DECLS
