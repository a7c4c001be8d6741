/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/places.h"

#include <string.h>

typedef enum {
    DRIVER_OTHER,
    DRIVER_SYSTEM,
    DRIVER_SESSION,
} Driver;

/* Only sockets of this host: another host's folders are out of reach. */
static Driver
driver_of(const char *uri)
{
    static const char *const schemes[] = { "qemu:///", "qemu+unix:///" };
    gsize length;

    for (gsize i = 0; i < G_N_ELEMENTS(schemes); i++) {
        if (!g_str_has_prefix(uri, schemes[i]))
            continue;
        uri += strlen(schemes[i]);
        length = strcspn(uri, "?");
        if (length == strlen("system") && g_str_has_prefix(uri, "system"))
            return DRIVER_SYSTEM;
        if (length == strlen("session") && g_str_has_prefix(uri, "session"))
            return DRIVER_SESSION;
    }
    return DRIVER_OTHER;
}

static char *
place_of(const char *uri, const char *system, const char *session)
{
    switch (driver_of(uri)) {
    case DRIVER_SYSTEM:
        return g_strdup(system);
    case DRIVER_SESSION:
        return g_build_filename(g_get_user_config_dir(), session, NULL);
    case DRIVER_OTHER:
    default:
        return NULL;
    }
}

char *
wk_places_save_dir(const char *uri)
{
    return place_of(uri, "/var/lib/libvirt/qemu/save", "libvirt/qemu/save");
}

char *
wk_places_autostart_dir(const char *uri)
{
    return place_of(uri, "/etc/libvirt/qemu/autostart", "libvirt/qemu/autostart");
}
