/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_main.h"

#include "base/error.h"
#include "virt/connection.h"
#include "virt/helper_line.h"
#include "virt/helper_lock.h"
#include "virt/helper_serve.h"
#include "virt/helper_wire.h"

#include <libxml/parser.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define AGENT_FD 0
/* A descriptor is as good as a path for connect(2), and the pod can't move it (helper.c). A root
 * launcher's libvirt is the system's, any other a session's: it wants to be told which. */
#define SESSION_URI "qemu+unix:///session?socket=/proc/self/fd/3"
#define SYSTEM_URI  "qemu+unix:///system?socket=/proc/self/fd/3"

#define ARGUMENTS 5

typedef struct {
    uid_t user;
    gid_t group;
    gboolean libvirt;
} Options;

gboolean
wk_helper_is_asked_for(int argc, char **argv)
{
    return argc > 1 && g_str_equal(argv[1], WK_HELPER_OPTION);
}

static gboolean
parse_options(int argc, char **argv, Options *options)
{
    guint64 user;
    guint64 group;

    if (argc != ARGUMENTS || !g_ascii_string_to_unsigned(argv[2], 10, 0, G_MAXINT32, &user, NULL)
        || !g_ascii_string_to_unsigned(argv[3], 10, 0, G_MAXINT32, &group, NULL))
        return FALSE;
    *options = (Options){ (uid_t)user, (gid_t)group, g_str_equal(argv[4], "libvirt") };
    return TRUE;
}

/* No file of anybody's: neither a daemon is to be started, nor a configuration to be read from the
 * home that the pod's user may have on this host. */
static void
set_environment(void)
{
    (void)clearenv();
    (void)g_setenv("LIBVIRT_AUTOSTART", "0", TRUE);
    (void)g_setenv("HOME", "/nonexistent", TRUE);
    (void)g_setenv("XDG_CONFIG_HOME", "/nonexistent", TRUE);
    (void)g_setenv("XDG_CACHE_HOME", "/nonexistent", TRUE);
    (void)g_setenv("XDG_RUNTIME_DIR", "/nonexistent", TRUE);
}

/* @server is made once there is a connection, and before the last door closes: it has threads. */
static gboolean
start(const Options *options, WkHelperServer **server, GError **error)
{
    const char *uri = options->user == 0 ? SYSTEM_URI : SESSION_URI;
    g_autoptr(WkConnection) connection = NULL;
    g_autoptr(WkConnection) lasting = NULL;

    if (!wk_helper_become(options->user, options->group, error))
        return FALSE;
    if (options->libvirt) {
        connection = wk_connection_open(uri, error);
        lasting = connection != NULL ? wk_connection_open(uri, error) : NULL;
        if (lasting == NULL)
            return FALSE;
    }
    if (!wk_helper_drop_root(error))
        return FALSE;
    *server = wk_helper_server_new(AGENT_FD, connection, lasting, error);
    return *server != NULL && wk_helper_lock(error);
}

/* What was started is not taken down: the process ends, whatever its threads are at. */
int
wk_helper_main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    WkHelperServer *server = NULL;
    Options options;

    (void)mallopt(M_ARENA_MAX, 1);
    (void)prctl(PR_SET_NAME, "wukong-helper", 0, 0, 0);
    if (!parse_options(argc, argv, &options))
        return EXIT_FAILURE;
    set_environment();
    xmlInitParser();
    if (!start(&options, &server, &error)) {
        g_autofree char *line = wk_helper_error_format(0, error);

        (void)wk_helper_lines_write(AGENT_FD, line);
        _Exit(EXIT_FAILURE);
    }
    wk_helper_server_run(server);
    _Exit(EXIT_SUCCESS);
}
