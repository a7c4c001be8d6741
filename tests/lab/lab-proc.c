/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of this node's processes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab.h"

#include <math.h>
#include <string.h>

guint
lab_count_entries(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    guint n = 0;

    while (dir != NULL && g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

guint
lab_count_of(const char *name, const char *folder)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)lab_pid(name), folder);

    return lab_count_entries(path);
}

double
lab_status_number(const char *path, const char *field)
{
    g_autofree char *text = NULL;
    g_autofree char *head = g_strdup_printf("\n%s:", field);
    const char *at = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, head) : NULL;

    return at != NULL ? g_ascii_strtod(at + strlen(head), NULL) : NAN;
}

double
lab_rss_anon_kib(const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)lab_pid(name));

    return lab_status_number(path, "RssAnon");
}

GPid
lab_find_process(const char *argument)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *pid;

    while (dir != NULL && (pid = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
        g_autofree char *words = NULL;
        gsize length = 0;

        if (g_ascii_isdigit(*pid) && g_file_get_contents(path, &words, &length, NULL)
            && memmem(words, length, argument, strlen(argument)) != NULL)
            return (GPid)g_ascii_strtoll(pid, NULL, 10);
    }
    return 0;
}
