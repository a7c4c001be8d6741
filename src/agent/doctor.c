/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/doctor.h"

#include <grp.h>
#include <string.h>

#define CONTROL_GROUP "wukong"

static void
add(GPtrArray *checks, const char *name, WkCheckLevel level, const char *message, const char *next)
{
    g_ptr_array_add(checks, wk_check_new(name, level, message, next));
}

static void
check_sources(GPtrArray *checks, GPtrArray *sources)
{
    if (sources->len == 0)
        add(checks, "sources", WK_CHECK_ERROR, "no libvirt is configured, and none was found",
            "install libvirt's QEMU driver, or name a [source] in wukongd.conf");
    for (guint i = 0; i < sources->len; i++) {
        WkSource *source = g_ptr_array_index(sources, i);
        g_autofree char *name = g_strdup_printf("source %s", wk_source_get_name(source));
        const gboolean up = wk_source_is_up(source);
        g_autofree char *message = g_strdup_printf("%s %s", wk_source_get_uri(source),
                                                   up ? "is connected" : "can't be reached");

        add(checks, name, up ? WK_CHECK_OK : WK_CHECK_ERROR, message,
            up ? NULL : "see that libvirtd or virtqemud runs; it is tried again by itself");
    }
}

static void
check_vault(GPtrArray *checks, WkEngine *engine)
{
    const char *why = wk_engine_get_cannot_save(engine, NULL);

    if (why == NULL)
        add(checks, "vault", WK_CHECK_OK, "guests can be suspended to disk", NULL);
    else
        add(checks, "vault", WK_CHECK_ERROR, why,
            "put [vault] dir= on the file system of libvirt's save folder");
}

static void
check_group(GPtrArray *checks)
{
    if (getgrnam(CONTROL_GROUP) != NULL)
        add(checks, "control socket", WK_CHECK_OK, "group '" CONTROL_GROUP "' may use it", NULL);
    else
        add(checks, "control socket", WK_CHECK_WARNING,
            "there is no group '" CONTROL_GROUP "': only root may use it",
            "groupadd --system " CONTROL_GROUP ", then restart wukongd");
}

/* libvirt-guests saves guests at shutdown by itself: two tools that save the same guests duel, and
 * its images have no guard (libvirt warns of the same for its own auto_shutdown_* settings). */
static gboolean
saves_at_shutdown(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *line = g_strstrip(lines[i]);

        if (g_str_has_prefix(line, "ON_SHUTDOWN=") && strstr(line, "suspend") != NULL)
            return TRUE;
    }
    return FALSE;
}

static void
check_rivals(GPtrArray *checks)
{
    static const char *const paths[] = { "/etc/default/libvirt-guests",
                                         "/etc/sysconfig/libvirt-guests" };

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (saves_at_shutdown(paths[i]))
            add(checks, "libvirt-guests", WK_CHECK_WARNING,
                "libvirt-guests suspends guests at shutdown as well",
                "set ON_SHUTDOWN=shutdown in its configuration, or disable the unit");
    }
}

GPtrArray *
wk_doctor_examine(WkEngine *engine, GPtrArray *sources, WkWukongs *wukongs)
{
    GPtrArray *checks = g_ptr_array_new_with_free_func((GDestroyNotify)wk_check_free);

    check_sources(checks, sources);
    check_vault(checks, engine);
    wk_wukongs_examine(wukongs, checks);
    check_group(checks);
    check_rivals(checks);
    return checks;
}
