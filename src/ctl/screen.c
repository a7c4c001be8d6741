/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/screen.h"

#include "ctl/table.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80
#define ROWS_DEFAULT    24

struct _WkCtlScreen {
    GPtrArray *jobs; /* (element-type WkCtlJob), not ours */
    gboolean quiet;
    gboolean terminal;
    gboolean dirty;
    guint drawn; /* lines on the screen now */
};

static gboolean
can_draw(void)
{
    const char *term = g_getenv("TERM");

    return isatty(STDERR_FILENO) && g_strcmp0(term, "dumb") != 0;
}

WkCtlScreen *
wk_ctl_screen_new(const WkCtl *ctl, GPtrArray *jobs)
{
    WkCtlScreen *self = g_new0(WkCtlScreen, 1);

    self->jobs = jobs;
    self->quiet = ctl->quiet;
    self->terminal = can_draw();
    self->dirty = TRUE;
    return self;
}

void
wk_ctl_screen_free(WkCtlScreen *self)
{
    if (self == NULL)
        return;
    wk_ctl_screen_clear(self);
    g_free(self);
}

gboolean
wk_ctl_screen_is_terminal(const WkCtlScreen *self)
{
    return self->terminal;
}

void
wk_ctl_screen_update(WkCtlScreen *self, const WkCtlJob *job, const WkCtlOperation *before)
{
    g_autofree char *text = NULL;

    self->dirty = TRUE;
    if (self->quiet || self->terminal || !wk_ctl_operation_is_news(before, job->operation))
        return;
    text = wk_ctl_operation_progress(job->operation);
    fprintf(stderr, "%s: %s\n", job->label, text);
}

static void
measure(guint *columns, guint *rows)
{
    struct winsize size = { 0 };

    (void)ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    *columns = size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
    *rows = size.ws_row > 0 ? size.ws_row : ROWS_DEFAULT;
}

static guint
label_width(const WkCtlScreen *self)
{
    guint width = 0;

    for (guint i = 0; i < self->jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(self->jobs, i);

        width = MAX(width, wk_ctl_text_width(job->label));
    }
    return width;
}

/* Draws those that go on, as many as there is room for. */
static void
draw_jobs(WkCtlScreen *self, GString *text, guint columns, guint rows)
{
    const guint width = MIN(label_width(self), columns / 3);
    guint left_out = 0;

    for (guint i = 0; i < self->jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(self->jobs, i);
        g_autofree char *line = NULL;

        if (job->operation->final && self->jobs->len > 1)
            continue;
        if (self->drawn + 2 >= rows) {
            left_out++;
            continue;
        }
        /* A line that fills the last column would wrap and take two. */
        line = wk_ctl_operation_bar(job->operation, job->label, width, columns - 1);
        g_string_append_printf(text, "%s\033[K\n", line);
        self->drawn++;
    }
    if (left_out > 0) {
        g_string_append_printf(text, "and %u more\033[K\n", left_out);
        self->drawn++;
    }
}

static void
go_up(WkCtlScreen *self, GString *text)
{
    if (self->drawn > 0)
        g_string_append_printf(text, "\033[%uA\r", self->drawn);
    self->drawn = 0;
}

void
wk_ctl_screen_draw(WkCtlScreen *self)
{
    g_autoptr(GString) text = NULL;
    guint columns, rows;

    if (self->quiet || !self->terminal || !self->dirty)
        return;
    text = g_string_new(NULL);
    measure(&columns, &rows);
    go_up(self, text);
    draw_jobs(self, text, columns, rows);
    g_string_append(text, "\033[J");
    fputs(text->str, stderr);
    self->dirty = FALSE;
}

void
wk_ctl_screen_clear(WkCtlScreen *self)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (self->drawn == 0)
        return;
    go_up(self, text);
    g_string_append(text, "\033[J");
    fputs(text->str, stderr);
    self->dirty = TRUE;
}
