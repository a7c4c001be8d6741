/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/pods.h"

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "virt/pod_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS_BYTES 16384

/* A launcher makes a handful of names in its folder of sockets, and binds one or two of them. */
#define POD_EVENTS_MAX 4096
#define POD_CALLS_MAX  64

/* Between bind and listen of a launcher there is no event to wait for. */
#define RETRY_FIRST_MS 5
#define RETRY_LAST_MS  2000

/* New names; a folder that goes takes its watch along (IN_IGNORED). */
#define WATCH_NEW (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)
#define WATCH_ALL (WATCH_NEW | IN_DELETE | IN_MOVED_FROM | IN_MOVE_SELF)

#define NO_WATCH   (-1)
#define BASE_TRIES 8

/* How deep the way to a pod's emptyDirs is there. */
static const char *const levels[] = { "", WK_POD_VOLUMES, WK_POD_EMPTY_DIRS };
#define LEVEL_EMPTY_DIRS ((int)G_N_ELEMENTS(levels) - 1)

struct _WkPods {
    char *folder; /* <kubelet>/pods */
    const WkPodsListener *listener;
    gpointer data;
    int inotify;
    guint source;

    int base_watch;    /* of the folder; while that is not there, of one above it */
    gboolean is_base;  /* of the folder itself */
    gboolean left_out; /* some pod, for there were too many */
    guint rescan;      /* idle source */

    GHashTable *entries; /* uid -> Entry (owned) */
    GHashTable *watches; /* watch -> Entry (not owned) */
};

typedef struct {
    WkPods *pods;
    char *uid;
    WkPod *pod;     /* NULL: did not appear, or is gone */
    gboolean ended; /* gone, or given up: nothing more is told of it */

    int level; /* of way_watch; -1: none */
    int way_watch;
    int sockets_watch;
    guint events_left;
    guint calls_left;

    guint retry;
    guint retry_ms;
    guint exit_source;
} Entry;

static void advance(Entry *entry);

/* ---- watches ---- */

/* Follows no symlink: the watch is put on what @path_fd holds. */
static int
watch_folder(WkPods *self, int path_fd, guint32 mask)
{
    g_autofree char *name = g_strdup_printf("/proc/self/fd/%d", path_fd);

    return inotify_add_watch(self->inotify, name, mask);
}

static void
drop_watch(Entry *entry, int *watch)
{
    if (*watch == NO_WATCH)
        return;
    (void)g_hash_table_remove(entry->pods->watches, GINT_TO_POINTER(*watch));
    (void)inotify_rm_watch(entry->pods->inotify, *watch);
    *watch = NO_WATCH;
}

/* Returns: FALSE when there is no such folder. */
static gboolean
put_watch(Entry *entry, const char *below, int *watch)
{
    WkPods *pods = entry->pods;
    WK_AUTO_FD int fd = wk_pod_open_below(pods->folder, entry->uid, below, O_PATH | O_DIRECTORY);

    if (fd < 0)
        return FALSE;
    *watch = watch_folder(pods, fd, WATCH_NEW);
    if (*watch >= 0) {
        (void)g_hash_table_insert(pods->watches, GINT_TO_POINTER(*watch), entry);
        return TRUE;
    }
    wk_log(WK_LOG_WARNING, NULL, "pod %s can't be watched (fs.inotify.max_user_watches): %s",
           entry->uid, g_strerror(errno));
    *watch = NO_WATCH;
    return FALSE;
}

/* ---- one pod ---- */

static void
clear_source(guint *source)
{
    if (*source != 0)
        (void)g_source_remove(*source);
    *source = 0;
}

static void
stop_following(Entry *entry)
{
    drop_watch(entry, &entry->way_watch);
    drop_watch(entry, &entry->sockets_watch);
    clear_source(&entry->retry);
    clear_source(&entry->exit_source);
    entry->level = -1;
}

static void
end_entry(Entry *entry)
{
    g_autoptr(WkPod) pod = g_steal_pointer(&entry->pod);

    stop_following(entry);
    entry->ended = TRUE;
    if (pod != NULL)
        entry->pods->listener->gone(pod, entry->pods->data);
}

static void
entry_free(gpointer data)
{
    Entry *entry = data;

    stop_following(entry);
    wk_pod_unref(entry->pod);
    g_free(entry->uid);
    g_free(entry);
}

/* Watches the deepest folder on the way to the emptyDirs. The watch comes before the look for what
 * is below, so that nothing comes up in between unseen. */
static void
follow_way(Entry *entry)
{
    while (entry->level < LEVEL_EMPTY_DIRS) {
        int watch = NO_WATCH;

        if (!put_watch(entry, levels[entry->level + 1], &watch))
            return;
        drop_watch(entry, &entry->way_watch);
        entry->way_watch = watch;
        entry->level++;
    }
}

/* Tells of a save folder that is new, or another one than before. */
static void
look_for_save_folder(Entry *entry)
{
    WkPods *pods = entry->pods;
    g_autoptr(WkPod) pod = wk_pod_new(pods->folder, entry->uid);

    if (pod == NULL
        || (entry->pod != NULL && g_str_equal(pod->save_folder, entry->pod->save_folder)))
        return;
    g_clear_pointer(&entry->pod, wk_pod_unref);
    entry->pod = wk_pod_ref(pod);
    pods->listener->appeared(pod, pods->data);
}

static gboolean
on_exit_of_launcher(int fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Entry *entry = data;

    entry->exit_source = 0;
    end_entry(entry);
    return G_SOURCE_REMOVE;
}

static void
become_ready(Entry *entry, WkPod *pod)
{
    WkPods *pods = entry->pods;

    stop_following(entry);
    g_clear_pointer(&entry->pod, wk_pod_unref);
    entry->pod = wk_pod_ref(pod);
    entry->exit_source = g_unix_fd_add(pod->pidfd, G_IO_IN, on_exit_of_launcher, entry);
    pods->listener->ready(pod, pods->data);
}

static gboolean
on_retry(gpointer data)
{
    Entry *entry = data;

    entry->retry = 0;
    advance(entry);
    return G_SOURCE_REMOVE;
}

static void
give_up(Entry *entry, const char *why)
{
    wk_log(WK_LOG_WARNING, NULL, "pod %s is not followed any further: %s", entry->uid, why);
    stop_following(entry);
    entry->ended = TRUE;
}

static void
retry_later(Entry *entry)
{
    if (entry->retry != 0 || entry->retry_ms > RETRY_LAST_MS)
        return;
    entry->retry = g_timeout_add(entry->retry_ms, on_retry, entry);
    entry->retry_ms *= 2;
}

/* Returns: TRUE when that is over: it answered, or never will. */
static gboolean
call_launcher(Entry *entry, const char *socket)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkPod) pod = wk_pod_new_ready(entry->pods->folder, entry->uid, socket, &error);

    if (pod != NULL) {
        become_ready(entry, pod);
        return TRUE;
    }
    if (g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND))
        return FALSE;
    if (--entry->calls_left == 0) {
        give_up(entry, error->message);
        return TRUE;
    }
    if (g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE))
        retry_later(entry);
    else
        wk_log(WK_LOG_WARNING, NULL, "%s", error->message);
    return FALSE;
}

static void
look_for_launcher(Entry *entry)
{
    if (entry->sockets_watch == NO_WATCH
        && !put_watch(entry, WK_POD_EMPTY_DIRS "/sockets", &entry->sockets_watch))
        return;
    if (!call_launcher(entry, "launcher-sock"))
        (void)call_launcher(entry, "launcher-init-sock");
}

/* Looks at everything of a pod that is not known yet; may be called at any time. */
static void
advance(Entry *entry)
{
    if (entry->ended || entry->exit_source != 0)
        return;
    follow_way(entry);
    if (entry->level == LEVEL_EMPTY_DIRS)
        look_for_save_folder(entry);
    if (entry->pod != NULL)
        look_for_launcher(entry);
}

/* ---- the folder of all pods ---- */

static void
meet_pod(WkPods *self, const char *uid)
{
    Entry *entry = g_hash_table_lookup(self->entries, uid);

    if (!g_uuid_string_is_valid(uid)) /* a static pod, or no pod: never a launcher's */
        return;
    if (entry == NULL && g_hash_table_size(self->entries) >= WK_PODS_MAX) {
        if (!self->left_out)
            wk_log(WK_LOG_WARNING, NULL, "more than %d pods: the others are not followed",
                   WK_PODS_MAX);
        self->left_out = TRUE;
        return;
    }
    if (entry == NULL) {
        entry = g_new0(Entry, 1);
        *entry = (Entry){ .pods = self,
                          .uid = g_strdup(uid),
                          .level = -1,
                          .way_watch = NO_WATCH,
                          .sockets_watch = NO_WATCH,
                          .events_left = POD_EVENTS_MAX,
                          .calls_left = POD_CALLS_MAX,
                          .retry_ms = RETRY_FIRST_MS };
        (void)g_hash_table_insert(self->entries, entry->uid, entry);
    }
    advance(entry);
}

static void scan(WkPods *self);

static gboolean
on_rescan(gpointer data)
{
    WkPods *self = data;

    self->rescan = 0;
    scan(self);
    return G_SOURCE_REMOVE;
}

static void
miss_pod(WkPods *self, const char *uid)
{
    Entry *entry = g_hash_table_lookup(self->entries, uid);

    if (entry == NULL)
        return;
    end_entry(entry);
    (void)g_hash_table_remove(self->entries, uid);
    if (self->left_out && self->rescan == 0)
        self->rescan = g_idle_add(on_rescan, self);
}

static void
close_dir(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}

/* Returns: (transfer full) (element-type utf8): the names in the folder, as a set. */
static GHashTable *
list_names(WkPods *self)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    __attribute__((cleanup(close_dir))) DIR *entries = opendir(self->folder);
    const struct dirent *entry;

    while (entries != NULL && (entry = readdir(entries)) != NULL)
        (void)g_hash_table_add(names, g_strdup(entry->d_name));
    return names;
}

/* Compares the folder with what is known of it: at start, and after events were lost. */
static void
scan(WkPods *self)
{
    g_autoptr(GHashTable) names = list_names(self);
    g_autofree gpointer *known = g_hash_table_get_keys_as_array(self->entries, NULL);
    GHashTableIter iter;
    gpointer name;

    for (gsize i = 0; known[i] != NULL; i++) {
        if (!g_hash_table_contains(names, known[i]))
            miss_pod(self, known[i]);
    }
    self->left_out = FALSE;
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        meet_pod(self, name);
}

/* Returns: (transfer full): the deepest folder on the way to @folder that could be watched; its
 * watch is @watch, NO_WATCH when none could. @missing (transfer full): what is below it. */
static char *
watch_deepest(WkPods *self, int *watch, char **missing)
{
    char *path = g_strdup(self->folder);

    *missing = NULL;
    *watch = inotify_add_watch(self->inotify, path, WATCH_ALL);
    while (*watch < 0 && !g_str_equal(path, "/")) {
        g_free(*missing);
        *missing = path;
        path = g_path_get_dirname(path);
        *watch = inotify_add_watch(self->inotify, path, WATCH_ALL);
    }
    return path;
}

/* Watches the folder, or as long as it is not there the nearest one above it. What came up between
 * the look and the watch is looked for once more. */
static void
watch_base(WkPods *self)
{
    for (guint i = 0; i < BASE_TRIES; i++) {
        g_autofree char *missing = NULL;
        g_autofree char *path = NULL;

        if (self->base_watch >= 0)
            (void)inotify_rm_watch(self->inotify, self->base_watch);
        path = watch_deepest(self, &self->base_watch, &missing);
        self->is_base = missing == NULL;
        if (self->is_base || access(missing, F_OK) < 0)
            return;
    }
    wk_log(WK_LOG_WARNING, NULL, "'%s' can't be watched: no launcher pods are seen", self->folder);
}

static void
on_base_event(WkPods *self, const struct inotify_event *event)
{
    if (!self->is_base || (event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0) {
        if ((event->mask & IN_IGNORED) != 0)
            self->base_watch = NO_WATCH;
        watch_base(self);
        scan(self);
    } else if ((event->mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
        miss_pod(self, event->name);
    } else if (event->len > 0) {
        meet_pod(self, event->name);
    }
}

static gboolean
matters(const Entry *entry, const struct inotify_event *event)
{
    return event->wd != entry->sockets_watch || event->len == 0
           || g_str_equal(event->name, "launcher-sock")
           || g_str_equal(event->name, "launcher-init-sock");
}

static void
on_pod_event(WkPods *self, Entry *entry, const struct inotify_event *event)
{
    if ((event->mask & IN_IGNORED) != 0) {
        (void)g_hash_table_remove(self->watches, GINT_TO_POINTER(event->wd));
        if (event->wd == entry->sockets_watch)
            entry->sockets_watch = NO_WATCH;
        if (event->wd == entry->way_watch) {
            entry->way_watch = NO_WATCH;
            entry->level = -1;
        }
    } else if (--entry->events_left == 0) {
        give_up(entry, "it floods its folders");
        return;
    }
    if (matters(entry, event))
        advance(entry);
}

static void
on_event(WkPods *self, const struct inotify_event *event)
{
    Entry *entry;

    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        scan(self);
        return;
    }
    if (event->wd == self->base_watch) {
        on_base_event(self, event);
        return;
    }
    entry = g_hash_table_lookup(self->watches, GINT_TO_POINTER(event->wd));
    if (entry != NULL) /* else news of a watch that was dropped */
        on_pod_event(self, entry, event);
}

static gboolean
on_readable(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    _Alignas(struct inotify_event) char buffer[EVENTS_BYTES];
    const gssize length = read(fd, buffer, sizeof buffer);

    for (gssize at = 0; at < length;) {
        const struct inotify_event *event = (const void *)(buffer + at);

        on_event(data, event);
        at += (gssize)(sizeof *event + event->len);
    }
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

WkPods *
wk_pods_new(const char *kubelet_dir, const WkPodsListener *listener, gpointer data, GError **error)
{
    WkPods *self;
    const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    if (fd < 0) {
        wk_error_set_errno(error, errno, "watching '%s'", kubelet_dir);
        return NULL;
    }
    self = g_new0(WkPods, 1);
    self->folder = g_build_filename(kubelet_dir, "pods", NULL);
    self->listener = listener;
    self->data = data;
    self->inotify = fd;
    self->base_watch = NO_WATCH;
    self->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    self->watches = g_hash_table_new(g_direct_hash, g_direct_equal);
    return self;
}

void
wk_pods_start(WkPods *self)
{
    self->source = g_unix_fd_add(self->inotify, G_IO_IN, on_readable, self);
    watch_base(self);
    scan(self);
}

void
wk_pods_free(WkPods *self)
{
    if (self == NULL)
        return;
    clear_source(&self->source);
    clear_source(&self->rescan);
    g_hash_table_unref(self->entries);
    g_hash_table_unref(self->watches);
    wk_files_auto_close(&self->inotify);
    g_free(self->folder);
    g_free(self);
}

WkPod *
wk_pods_find(WkPods *self, const char *pod_uid)
{
    const Entry *entry = g_hash_table_lookup(self->entries, pod_uid);

    return entry != NULL ? entry->pod : NULL;
}

const char *
wk_pods_get_folder(WkPods *self)
{
    return self->folder;
}

guint
wk_pods_count(WkPods *self)
{
    return g_hash_table_size(self->entries);
}

guint
wk_pods_count_watches(WkPods *self)
{
    return g_hash_table_size(self->watches) + (self->base_watch >= 0 ? 1 : 0);
}
