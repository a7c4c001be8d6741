/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest says: its console's log, and the second serial line for commands. */
#include "lab-private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TAIL_BYTES 4096

char *
lab_guest_serial_path(const char *name)
{
    return g_strdup_printf(LAB_GUESTS_DIR "/%s/serial.log", name);
}

static gboolean
parse_tick(const char *line, LabTick *tick)
{
    return sscanf(line,
                  "nonce=%32s tick=%" G_GUINT64_FORMAT " filled=%" G_GUINT64_FORMAT
                  " wrote=%" G_GUINT64_FORMAT,
                  tick->nonce, &tick->tick, &tick->filled, &tick->wrote)
           == 4;
}

/* The end of the log, whole lines only. */
static char *
read_tail(const char *name)
{
    g_autofree char *path = lab_guest_serial_path(name);
    g_autofree char *text = g_malloc(TAIL_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = -1;
    char *end;

    if (fd >= 0 && fstat(fd, &st) == 0)
        n = pread(fd, text, TAIL_BYTES, MAX(st.st_size - TAIL_BYTES, 0));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return NULL;
    text[n] = '\0';
    end = strrchr(text, '\n');
    if (end != NULL)
        *end = '\0';
    return end != NULL ? g_steal_pointer(&text) : NULL;
}

static gboolean
last_tick(const char *name, LabTick *tick)
{
    g_autofree char *text = read_tail(name);
    char *line = text;

    while (line != NULL) {
        line = g_strrstr(text, "nonce=");
        if (line == NULL)
            return FALSE;
        if (parse_tick(line, tick))
            return TRUE;
        *line = '\0';
    }
    return FALSE;
}

gboolean
lab_guest_last_tick(const char *name, LabTick *tick, GError **error)
{
    memset(tick, 0, sizeof *tick);
    if (last_tick(name, tick))
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "guest %s has printed nothing yet", name);
    return FALSE;
}

char *
lab_guest_nonce(const char *name, GError **error)
{
    LabTick tick;

    return lab_guest_last_tick(name, &tick, error) ? g_strdup(tick.nonce) : NULL;
}

guint64
lab_guest_tick(const char *name, GError **error)
{
    LabTick tick;

    return lab_guest_last_tick(name, &tick, error) ? tick.tick : 0;
}

typedef struct {
    const char *name;
    LabTick from;
    LabTick now;
    gint64 quiet_since;
} TickWait;

static gboolean
is_above(gpointer data)
{
    TickWait *wait = data;

    return last_tick(wait->name, &wait->now) && wait->now.tick > wait->from.tick;
}

gboolean
lab_guest_wait_tick_above(const char *name, guint64 tick, guint timeout_ms, GError **error)
{
    TickWait wait = { .name = name, .from.tick = tick };
    g_autofree char *what =
        g_strdup_printf("guest %s to tick above %" G_GUINT64_FORMAT, name, tick);

    return lab_wait(what, timeout_ms, is_above, &wait, error);
}

static gboolean
differs(const LabTick *a, const LabTick *b)
{
    return a->tick != b->tick || strcmp(a->nonce, b->nonce) != 0;
}

static gboolean
has_moved(gpointer data)
{
    TickWait *wait = data;

    return last_tick(wait->name, &wait->now) && differs(&wait->now, &wait->from);
}

gboolean
lab_guest_wait_ticking(const char *name, guint timeout_ms, GError **error)
{
    TickWait wait = { .name = name };
    g_autofree char *what = g_strdup_printf("guest %s to tick", name);

    last_tick(name, &wait.from);
    return lab_wait(what, timeout_ms, has_moved, &wait, error);
}

gboolean
lab_guest_is_ticking(const char *name, guint window_ms)
{
    return lab_guest_wait_ticking(name, window_ms, NULL);
}

static gboolean
is_quiet(gpointer data)
{
    TickWait *wait = data;

    last_tick(wait->name, &wait->now);
    if (differs(&wait->now, &wait->from)) {
        wait->from = wait->now;
        wait->quiet_since = g_get_monotonic_time();
    }
    return g_get_monotonic_time() - wait->quiet_since >= LAB_QUIET_MS * 1000;
}

gboolean
lab_guest_wait_quiet(const char *name, guint timeout_ms, GError **error)
{
    TickWait wait = { .name = name, .quiet_since = g_get_monotonic_time() };
    g_autofree char *what = g_strdup_printf("guest %s to stand still", name);

    last_tick(name, &wait.from);
    return lab_wait(what, timeout_ms, is_quiet, &wait, error);
}

/* @last: nonce -> its last tick. */
static gboolean
check_tick(const char *name, const LabTick *tick, GHashTable *last, GError **error)
{
    guint64 *before = g_hash_table_lookup(last, tick->nonce);

    if (before == NULL) {
        g_hash_table_insert(last, g_strdup(tick->nonce), g_memdup2(&tick->tick, sizeof tick->tick));
        return TRUE;
    }
    if (tick->tick != *before + 1) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED,
                    "guest %s, nonce %s: tick %" G_GUINT64_FORMAT " came after %" G_GUINT64_FORMAT
                    "%s",
                    name, tick->nonce, tick->tick, *before,
                    tick->tick <= *before ? ": that RAM ran twice" : "");
        return FALSE;
    }
    *before = tick->tick;
    return TRUE;
}

gboolean
lab_guest_check_log(const char *name, GError **error)
{
    g_autofree char *path = lab_guest_serial_path(name);
    g_autofree char *text = NULL;
    g_autoptr(GHashTable) last = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) lines = NULL;
    LabTick tick;

    if (!g_file_get_contents(path, &text, NULL, error))
        return FALSE;
    lines = g_strsplit(text, "\n", -1);
    /* the last piece has no end of line: not printed in full yet */
    for (gsize i = 0; lines[i] != NULL && lines[i + 1] != NULL; i++)
        if (parse_tick(lines[i], &tick) && !check_tick(name, &tick, last, error))
            return FALSE;
    return TRUE;
}

static int
connect_commands(const char *name, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_snprintf(address.sun_path, sizeof address.sun_path, LAB_RUN_DIR "/%s.commands", name);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "commands of guest %s: %s", name,
                g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Reads until a whole line starts with @start. Returns: (transfer full): the rest of it. */
static char *
read_answer(int fd, const char *start, guint timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    g_autoptr(GString) taken = g_string_new("\n");
    char bytes[256];

    for (;;) {
        gint64 left = (deadline - g_get_monotonic_time()) / 1000;
        struct pollfd in = { .fd = fd, .events = POLLIN };
        const char *found = strstr(taken->str, start);
        const char *end = found != NULL ? strchr(found + 1, '\n') : NULL;
        ssize_t n;

        if (end != NULL)
            return g_strndup(found + strlen(start), (gsize)(end - found) - strlen(start));
        if (left <= 0 || poll(&in, 1, (int)left) <= 0)
            return NULL;
        n = read(fd, bytes, sizeof bytes);
        if (n <= 0)
            return NULL;
        g_string_append_len(taken, bytes, n);
    }
}

char *
lab_guest_command(const char *name, const char *command, guint timeout_ms, GError **error)
{
    g_autofree char *seq = g_strdup_printf("%08x", g_random_int());
    g_autofree char *line = g_strdup_printf("%s %s\n", seq, command);
    g_autofree char *start = g_strdup_printf("\n%s ", seq);
    g_autofree char *answer = NULL;
    int fd = connect_commands(name, error);

    if (fd < 0)
        return NULL;
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line))
        answer = read_answer(fd, start, timeout_ms);
    close(fd);
    if (answer == NULL)
        g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT, "guest %s did not answer '%s' in %u ms",
                    name, command, timeout_ms);
    else if (!g_str_has_prefix(answer, "ok"))
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "guest %s, '%s': %s", name, command,
                    answer);
    else
        return g_strdup(g_strstrip(answer + strlen("ok")));
    return NULL;
}
