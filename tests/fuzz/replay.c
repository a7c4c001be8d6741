/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * Runs a fuzz target without libFuzzer: over the corpus of its name (tests/fuzz/corpus/NAME), or
 * the files and folders that are given. Each input whole, and cut short at each byte where it is
 * small. What a target does not like ends it with a failed assertion.
 */

#define CUT_MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of just its size, so that valgrind or a sanitizer sees a step too far. */
static void
run_input(const char *data, gsize size)
{
    g_autofree uint8_t *copy = g_memdup2(data, MAX(size, 1));

    LLVMFuzzerTestOneInput(copy, size);
}

static guint
run_file(const char *path)
{
    g_autofree char *data = NULL;
    g_autoptr(GError) error = NULL;
    gsize size = 0;

    if (!g_file_get_contents(path, &data, &size, &error))
        g_error("%s", error->message);
    run_input(data, size);
    for (gsize cut = 0; size <= CUT_MAX_BYTES && cut < size; cut++)
        run_input(data, cut);
    return 1;
}

static guint
run_path(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;
    guint n = 0;

    if (folder == NULL)
        return run_file(path);
    while ((name = g_dir_read_name(folder)) != NULL) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        n += run_path(file);
    }
    return n;
}

int
main(int argc, char *argv[])
{
    g_autofree char *program = g_path_get_basename(argv[0]);
    const char *name = strchr(program, '-') != NULL ? strchr(program, '-') + 1 : program;
    const char *top = g_getenv("WK_SRCDIR") != NULL ? g_getenv("WK_SRCDIR") : ".";
    g_autofree char *corpus = g_build_filename(top, "tests", "fuzz", "corpus", name, NULL);
    guint n = 0;

    for (int i = 1; i < argc; i++)
        n += run_path(argv[i]);
    if (argc < 2)
        n = run_path(corpus);
    printf("1..1\n%sok 1 - %s: %u inputs\n", n > 0 ? "" : "not ", name, n);
    return n > 0 ? 0 : 1;
}
