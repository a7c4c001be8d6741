/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/ctl.h"

#include "base/names.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
wk_ctl_out(const WkCtl *ctl, const char *format, ...)
{
    va_list args;

    if (ctl->quiet)
        return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void
wk_ctl_note(const WkCtl *ctl, const char *format, ...)
{
    va_list args;

    if (ctl->quiet)
        return;
    /* What was printed before stays before it, even when both go to one file. */
    fflush(stdout);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
}

void
wk_ctl_error(const char *format, ...)
{
    g_autofree char *text = NULL;
    g_autofree char *shown = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    shown = wk_name_printable(text);
    fflush(stdout);
    fprintf(stderr, "wukongctl: %s\n", shown);
}

void
wk_ctl_out_json(const WkCtl *ctl, const char *text)
{
    if (ctl->quiet)
        return;
    fputs(text, stdout);
    if (!g_str_has_suffix(text, "\n"))
        putchar('\n');
}

static void
on_interrupt(int number G_GNUC_UNUSED)
{
    _exit(WK_EXIT_INTERRUPTED);
}

void
wk_ctl_die_on_interrupt(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    (void)sigaction(SIGINT, &action, NULL);
}
