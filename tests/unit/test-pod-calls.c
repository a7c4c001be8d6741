/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What root does beneath the kubelet's folder of pods, as strace sees it: nothing by a path from
 * the root, folders by openat2 with RESOLVE flags, files by one name in a folder that is held,
 * which is never followed. The programs play a pod's whole life and every function on images.
 */
#include "config.h"

#include "unit.h"

#include <glib/gstdio.h>
#include <unistd.h>

#define STRACE "strace"

/* Calls that take a name in a folder and never follow it, whatever their flags. */
static const char *const never_follow[] = { "unlinkat", "mkdirat",   "renameat", "renameat2",
                                            "mknodat",  "symlinkat", NULL };

/* Their strings are no names. */
static const char *const data_calls[] = { "read",      "pread64",   "write", "pwrite64",
                                          "fgetxattr", "fsetxattr", NULL };

typedef struct {
    char *pods;   /* the folder */
    guint calls;  /* seen beneath it */
    guint opened; /* of them: by openat2 */
    GString *complaints;
} Trace;

/* TRUE when the argument at @at, "12<PATH>", is the folder or lies beneath it. */
static gboolean
is_beneath(const Trace *self, const char *args)
{
    g_autofree char *folder = g_strdup_printf("<%s>", self->pods);
    g_autofree char *below = g_strdup_printf("<%s/", self->pods);

    return strstr(args, folder) != NULL || strstr(args, below) != NULL;
}

/* Returns: (transfer full) (nullable): the first name in quotes. */
static char *
name_in(const char *args)
{
    const char *start = strchr(args, '"');
    const char *end = start != NULL ? strchr(start + 1, '"') : NULL;

    return end != NULL ? g_strndup(start + 1, (gsize)(end - start) - 1) : NULL;
}

/* What is wrong with this call; NULL: nothing. @name: one without a slash is in the folder. */
static const char *
find_fault(const char *call, const char *args, const char *name)
{
    const gboolean plain = strchr(name, '/') == NULL;

    if (g_str_equal(call, "openat2"))
        return strstr(args, "RESOLVE_BENEATH") != NULL
                       && strstr(args, "RESOLVE_NO_SYMLINKS") != NULL
                       && strstr(args, "RESOLVE_NO_MAGICLINKS") != NULL
                   ? NULL
                   : "openat2 without its RESOLVE flags";
    if (!plain)
        return "more than one name";
    if (g_str_equal(call, "openat"))
        return strstr(args, "O_NOFOLLOW") != NULL || g_str_equal(name, ".") ? NULL : "follows";
    if (g_str_equal(call, "newfstatat"))
        return strstr(args, "AT_SYMLINK_NOFOLLOW") != NULL || *name == '\0' ? NULL : "follows";
    if (g_str_equal(call, "linkat"))
        return strstr(args, "AT_SYMLINK_FOLLOW") == NULL ? NULL : "follows";
    return g_strv_contains(never_follow, call) ? NULL : "a call that may follow";
}

/* A path from the root is allowed of the folder itself only, which is the kubelet's. */
static const char *
find_path(const Trace *self, const char *args)
{
    g_autofree char *below = g_strdup_printf("\"%s/", self->pods);

    return strstr(args, below) != NULL ? "a path from the root" : NULL;
}

static void
check_line(Trace *self, const char *line)
{
    const char *open = strchr(line, '(');
    g_autofree char *call = open != NULL ? g_strndup(line, (gsize)(open - line)) : NULL;
    const char *result = open != NULL ? g_strrstr(open, ") = ") : NULL;
    g_autofree char *args = NULL;
    g_autofree char *name = NULL;
    const char *fault;

    if (result == NULL)
        return;
    /* without what comes back, "= 7</path>" */
    args = g_strndup(open, (gsize)(result - open));
    name = name_in(args);
    fault = find_path(self, args);
    if (fault == NULL && name != NULL && is_beneath(self, args)
        && !g_strv_contains(data_calls, call)) {
        self->calls++;
        self->opened += g_str_equal(call, "openat2") ? 1 : 0;
        fault = find_fault(call, args, name);
    }
    if (fault != NULL)
        g_string_append_printf(self->complaints, "%s: %s\n", fault, line);
}

/* Between the two lines that the program prints. */
static void
check_trace(Trace *self, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gboolean inside = FALSE;

    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *line = lines[i] + strspn(lines[i], "0123456789 ");
        const char *begin = strstr(line, "\"begin ");

        if (g_str_has_prefix(line, "write(") && strstr(line, "\"end\\n") != NULL)
            inside = FALSE;
        if (inside)
            check_line(self, line);
        if (g_str_has_prefix(line, "write(") && begin != NULL) {
            g_autofree char *kubelet = g_strndup(begin + 7, strcspn(begin + 7, "\\\""));

            g_free(self->pods);
            self->pods = g_build_filename(kubelet, "pods", NULL);
            inside = TRUE;
        }
    }
}

/* Returns: FALSE when nothing can be traced here. */
static gboolean
can_trace(void)
{
    const char *const argv[] = { STRACE, "-o", "/dev/null", "true", NULL };
    int status = -1;

    return geteuid() == 0
           && g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                           &status, NULL)
           && status == 0;
}

/* @threads: follow them, and children. */
static void
trace(const char *program, gboolean threads, guint calls_min)
{
    g_autofree char *output = NULL;
    g_autofree char *text = NULL;
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = g_path_get_dirname(self);
    g_autofree char *path = g_build_filename(folder, program, NULL);
    const int fd = g_file_open_tmp("wukong-calls-XXXXXX", &output, NULL);
    const char *const argv[] = {
        STRACE, threads ? "-fyqq" : "-yqq", "-s4096", "-o", output, path, "--calls", NULL
    };
    /* leaks are looked for by ptrace, which strace has */
    g_auto(GStrv) environment =
        g_environ_setenv(g_get_environ(), "ASAN_OPTIONS", "detect_leaks=0", TRUE);
    Trace seen = { .complaints = g_string_new(NULL) };
    int status = -1;

    (void)g_close(fd, NULL);
    assert_true(g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_SEARCH_PATH, NULL, NULL,
                             NULL, NULL, &status, NULL));
    assert_int_equal(status, 0);
    assert_true(g_file_get_contents(output, &text, NULL, NULL));
    assert_int_equal(g_unlink(output), 0);
    check_trace(&seen, text);
    print_message("%s: %u calls with a name beneath the pods, %u of them openat2\n", program,
                  seen.calls, seen.opened);
    if (seen.complaints->len > 0)
        fail_msg("%s", seen.complaints->str);
    assert_true(seen.calls >= calls_min);
    g_string_free(seen.complaints, TRUE);
    g_free(seen.pods);
}

static void
test_pods(void **state G_GNUC_UNUSED)
{
    if (!can_trace())
        skip();
    trace("test-virt-pods", FALSE, 20);
}

static void
test_images(void **state G_GNUC_UNUSED)
{
    if (!can_trace())
        skip();
    trace("test-vault-hostile", TRUE, 50);
}

/* Lines that have to be found fault with, and some that have not. */
static const struct {
    const char *line;
    gboolean fault;
} lines[] = {
    { "openat(AT_FDCWD</>, \"/k/pods/u/volumes\", O_RDONLY|O_NOFOLLOW) = 5</k/pods/u/volumes>",
      TRUE },
    { "openat(AT_FDCWD</>, \"/k/pods\", O_RDONLY) = 5</k/pods>", FALSE },
    { "openat2(5</k/pods>, \"u/v\", {flags=O_PATH, resolve=RESOLVE_BENEATH}, 24) = 6</k/pods/u/v>",
      TRUE },
    { "openat(6</k/pods/u/v>, \"M\", O_RDONLY|O_CLOEXEC) = 7</k/pods/u/v/M>", TRUE },
    { "openat(6</k/pods/u/v>, \"M\", O_PATH|O_NOFOLLOW) = 7</k/pods/u/v/M>", FALSE },
    { "openat(6</k/pods/u/v>, \"s/M\", O_PATH|O_NOFOLLOW) = 7</k/pods/u/v/s/M>", TRUE },
    { "newfstatat(6</k/pods/u/v>, \"M\", {st_mode=S_IFREG}, 0) = 0", TRUE },
    { "faccessat(6</k/pods/u/v>, \"M\", F_OK) = 0", TRUE },
    { "unlink(\"/k/pods/u/v/M\") = 0", TRUE },
    { "unlinkat(6</k/pods/u/v>, \"M\", 0) = -1 ENOENT", FALSE },
    { "openat(AT_FDCWD</>, \"/vault/image\", O_RDONLY) = 7</vault/image>", FALSE },
};

static void
test_rules(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *pods = g_strdup("/k/pods");
        Trace seen = { .pods = pods, .complaints = g_string_new(NULL) };

        check_line(&seen, lines[i].line);
        if ((seen.complaints->len > 0) != lines[i].fault)
            fail_msg("'%s': '%s'", lines[i].line, seen.complaints->str);
        g_string_free(seen.complaints, TRUE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rules), cmocka_unit_test(test_pods),
                                        cmocka_unit_test(test_images) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
