/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/follow.h"

#include "ctl/screen.h"

#include <glib-unix.h>
#include <stdio.h>
#include <unistd.h>

#define DRAW_MS 100

/*
 * The watch blocks in a thread of its own; whatever it hears is copied and handed to the main
 * thread, which alone knows jobs, terminal and signals.
 */
typedef struct {
    WkCtl *ctl;
    GPtrArray *jobs;
    WkCtlScreen *screen;
    GMainLoop *loop;
    GCancellable *cancellable;
    gboolean asking;
    WkCtlFollow result;
    GError *error;
} Follow;

/* What the watching thread says. */
typedef struct {
    Follow *follow;
    WkCtlOperation *operation; /* NULL: the watch is over */
    GError *error;
} News;

WkCtlJob *
wk_ctl_job_new(const char *guest_id, char *label, char *word, JsonObject *operation)
{
    WkCtlJob *self = g_new0(WkCtlJob, 1);

    self->guest_id = g_strdup(guest_id);
    self->label = label;
    self->word = word;
    self->operation = wk_ctl_operation_new(operation);
    return self;
}

void
wk_ctl_job_free(WkCtlJob *self)
{
    if (self == NULL)
        return;
    g_free(self->guest_id);
    g_free(self->label);
    g_free(self->word);
    wk_ctl_operation_free(self->operation);
    g_free(self);
}

static void
news_free(gpointer data)
{
    News *news = data;

    wk_ctl_operation_free(news->operation);
    g_clear_error(&news->error);
    g_free(news);
}

static void
take_operation(Follow *self, News *news)
{
    for (guint i = 0; i < self->jobs->len; i++) {
        WkCtlJob *job = g_ptr_array_index(self->jobs, i);
        g_autoptr(WkCtlOperation) before = NULL;

        if (g_strcmp0(job->operation->id, news->operation->id) != 0)
            continue;
        before = job->operation;
        job->operation = g_steal_pointer(&news->operation);
        wk_ctl_screen_update(self->screen, job, before);
        return;
    }
}

/* Main thread. */
static gboolean
on_news(gpointer data)
{
    News *news = data;
    Follow *self = news->follow;

    if (news->operation != NULL) {
        take_operation(self, news);
        return G_SOURCE_REMOVE;
    }
    if (self->result != WK_FOLLOW_INTERRUPTED && news->error != NULL) {
        self->result = WK_FOLLOW_FAILED;
        self->error = g_steal_pointer(&news->error);
    }
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

/* Watching thread. Takes both over. */
static void
tell(Follow *self, WkCtlOperation *operation, GError *error)
{
    News *news = g_new0(News, 1);

    news->follow = self;
    news->operation = operation;
    news->error = error;
    g_idle_add_full(G_PRIORITY_DEFAULT, on_news, news, news_free);
}

static gboolean
on_operation(JsonObject *operation, gpointer user_data)
{
    tell(user_data, wk_ctl_operation_new(operation), NULL);
    return TRUE;
}

typedef struct {
    Follow *follow;
    char **ids;
} Watch;

static gpointer
run_watch(gpointer data)
{
    g_autofree Watch *watch = data;
    g_auto(GStrv) ids = watch->ids;
    g_autoptr(WukongClient) client = wukong_client_new(watch->follow->ctl->socket_path);
    GError *error = NULL;

    (void)wukong_client_watch_operations(client, (const char *const *)ids, on_operation,
                                         watch->follow, watch->follow->cancellable, &error);
    tell(watch->follow, NULL, error);
    return NULL;
}

static guint
count_open(Follow *self)
{
    guint n = 0;

    for (guint i = 0; i < self->jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(self->jobs, i);

        n += job->operation->final ? 0 : 1;
    }
    return n;
}

static GThread *
start_watch(Follow *self)
{
    g_autoptr(GStrvBuilder) ids = g_strv_builder_new();
    Watch *watch = g_new0(Watch, 1);

    for (guint i = 0; i < self->jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(self->jobs, i);

        if (!job->operation->final && job->operation->id != NULL)
            g_strv_builder_add(ids, job->operation->id);
    }
    watch->follow = self;
    watch->ids = g_strv_builder_end(ids);
    return g_thread_new("watch", run_watch, watch);
}

static void
leave(Follow *self)
{
    self->result = WK_FOLLOW_INTERRUPTED;
    g_main_loop_quit(self->loop);
}

static void
cancel_all(Follow *self)
{
    for (guint i = 0; i < self->jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(self->jobs, i);
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonObject) operation = NULL;

        if (job->operation->final)
            continue;
        operation = wukong_client_cancel(self->ctl->client, job->guest_id, NULL, &error);
        if (operation == NULL)
            wk_ctl_error("%s: can't cancel: %s", job->label, error->message);
    }
}

static gboolean
on_answer(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer user_data)
{
    Follow *self = user_data;
    char text[64] = { 0 };
    const gssize n = read(fd, text, sizeof text - 1);

    self->asking = FALSE;
    if (n > 0 && (text[0] == 'y' || text[0] == 'Y'))
        cancel_all(self);
    return G_SOURCE_REMOVE;
}

static gboolean
on_interrupt(gpointer user_data)
{
    Follow *self = user_data;
    const guint n = count_open(self);

    if (self->asking || !wk_ctl_screen_is_terminal(self->screen) || !isatty(STDIN_FILENO)) {
        leave(self);
        return G_SOURCE_CONTINUE;
    }
    self->asking = TRUE;
    wk_ctl_screen_clear(self->screen);
    fprintf(stderr, "\nCancel the work on %u %s? [y/N] — Ctrl-C again leaves it running: ", n,
            n == 1 ? "guest" : "guests");
    g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_answer, self);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_tick(gpointer user_data)
{
    Follow *self = user_data;

    if (!self->asking)
        wk_ctl_screen_draw(self->screen);
    return G_SOURCE_CONTINUE;
}

static void
run_loop(Follow *self)
{
    const guint interrupt = g_unix_signal_add(SIGINT, on_interrupt, self);
    const guint tick = g_timeout_add(DRAW_MS, on_tick, self);
    GThread *thread = start_watch(self);

    g_main_loop_run(self->loop);
    g_cancellable_cancel(self->cancellable);
    g_thread_join(thread);
    /* What was told after the loop ended still points at us. */
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_source_remove(tick);
    g_source_remove(interrupt);
    if (self->asking)
        fputc('\n', stderr);
}

WkCtlFollow
wk_ctl_follow(WkCtl *ctl, GPtrArray *jobs, GError **error)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(WkCtlScreen) screen = wk_ctl_screen_new(ctl, jobs);
    Follow self = {
        .ctl = ctl, .jobs = jobs, .screen = screen, .loop = loop, .cancellable = cancellable
    };

    if (count_open(&self) == 0)
        return WK_FOLLOW_ENDED;
    for (guint i = 0; i < jobs->len; i++)
        wk_ctl_screen_update(screen, g_ptr_array_index(jobs, i), NULL);
    run_loop(&self);
    if (self.error != NULL)
        g_propagate_error(error, self.error);
    return self.result;
}
