/* SPDX-License-Identifier: Apache-2.0 */
/* The lab library for shell scripts; see usage below. Only inside lab-run. */
#include "lab.h"

#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: lab-tool libvirtd start|stop|kill|restart\n"
    "       lab-tool guest start NAME [--memory MIB] [--fill MIB] [--disk] [--cold]\n"
    "       lab-tool guest define NAME [--memory MIB] [--disk]\n"
    "       lab-tool guest create|destroy|undefine|xml|serial NAME\n"
    "       lab-tool guest nonce|tick|check NAME\n"
    "       lab-tool guest wait-tick NAME N [TIMEOUT-MS]\n"
    "       lab-tool guest wait-ticking|wait-quiet NAME [TIMEOUT-MS]\n"
    "       lab-tool guest command NAME WORD...\n"
    "       lab-tool agent start [ARGS...] | term | kill\n"
    "       lab-tool node crash|new-boot\n";

typedef gboolean (*Verb)(int n, char **words, GError **error);

typedef struct {
    const char *room;
    const char *verb;
    int min_words; /* after the verb */
    Verb run;
} Command;

static guint
number(const char *text)
{
    return (guint)g_ascii_strtoull(text, NULL, 10);
}

static guint
timeout_of(int n, char **words, int at)
{
    return n > at ? number(words[at]) : LAB_WAIT_MS;
}

static gboolean
print_and_free(char *text)
{
    if (text != NULL)
        g_print("%s\n", text);
    g_free(text);
    return text != NULL;
}

static gboolean
libvirtd_start(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_libvirtd_start(error);
}

static gboolean
libvirtd_stop(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_libvirtd_stop(error);
}

static gboolean
libvirtd_kill(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_libvirtd_kill(error);
}

static gboolean
libvirtd_restart(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_libvirtd_restart(error);
}

static gboolean
read_options(int n, char **words, LabGuestOptions *options, GError **error)
{
    for (int i = 1; i < n; i++) {
        if (g_str_equal(words[i], "--memory") && i + 1 < n) {
            options->memory_mib = number(words[++i]);
        } else if (g_str_equal(words[i], "--fill") && i + 1 < n) {
            options->fill_mib = number(words[++i]);
        } else if (g_str_equal(words[i], "--disk")) {
            options->disk = TRUE;
        } else if (g_str_equal(words[i], "--cold")) {
            options->cold = TRUE;
        } else {
            g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "unknown option '%s'", words[i]);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
guest_start(int n, char **words, GError **error)
{
    LabGuestOptions options = { 0 };

    return read_options(n, words, &options, error) && lab_guest_start(words[0], &options, error);
}

static gboolean
guest_define(int n, char **words, GError **error)
{
    LabGuestOptions options = { 0 };

    return read_options(n, words, &options, error) && lab_guest_define(words[0], &options, error);
}

static gboolean
guest_create(int n G_GNUC_UNUSED, char **words, GError **error)
{
    return lab_guest_create(words[0], error);
}

static gboolean
guest_destroy(int n G_GNUC_UNUSED, char **words, GError **error)
{
    return lab_guest_destroy(words[0], error);
}

static gboolean
guest_undefine(int n G_GNUC_UNUSED, char **words, GError **error)
{
    return lab_guest_undefine(words[0], error);
}

static gboolean
guest_xml(int n G_GNUC_UNUSED, char **words, GError **error G_GNUC_UNUSED)
{
    return print_and_free(lab_guest_xml(words[0], NULL));
}

static gboolean
guest_serial(int n G_GNUC_UNUSED, char **words, GError **error G_GNUC_UNUSED)
{
    return print_and_free(lab_guest_serial_path(words[0]));
}

static gboolean
guest_nonce(int n G_GNUC_UNUSED, char **words, GError **error)
{
    return print_and_free(lab_guest_nonce(words[0], error));
}

static gboolean
guest_tick(int n G_GNUC_UNUSED, char **words, GError **error)
{
    guint64 tick = lab_guest_tick(words[0], error);

    if (tick != 0)
        g_print("%" G_GUINT64_FORMAT "\n", tick);
    return tick != 0;
}

static gboolean
guest_check(int n G_GNUC_UNUSED, char **words, GError **error)
{
    return lab_guest_check_log(words[0], error);
}

static gboolean
guest_wait_tick(int n, char **words, GError **error)
{
    return lab_guest_wait_tick_above(words[0], g_ascii_strtoull(words[1], NULL, 10),
                                     timeout_of(n, words, 2), error);
}

static gboolean
guest_wait_ticking(int n, char **words, GError **error)
{
    return lab_guest_wait_ticking(words[0], timeout_of(n, words, 1), error);
}

static gboolean
guest_wait_quiet(int n, char **words, GError **error)
{
    return lab_guest_wait_quiet(words[0], timeout_of(n, words, 1), error);
}

static gboolean
guest_command(int n G_GNUC_UNUSED, char **words, GError **error)
{
    g_autofree char *command = g_strjoinv(" ", words + 1);

    return print_and_free(lab_guest_command(words[0], command, LAB_WAIT_MS, error));
}

static gboolean
agent_start(int n, char **words, GError **error)
{
    LabAgentOptions options = { .args = n > 0 ? (const char *const *)words : NULL };

    return lab_agent_start(&options, error);
}

static gboolean
agent_term(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_agent_term(NULL, error);
}

static gboolean
agent_kill(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_agent_kill(error);
}

static gboolean
node_crash(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_node_crash(error);
}

static gboolean
node_new_boot(int n G_GNUC_UNUSED, char **words G_GNUC_UNUSED, GError **error)
{
    return lab_node_new_boot(error);
}

static const Command commands[] = {
    { "libvirtd", "start", 0, libvirtd_start },
    { "libvirtd", "stop", 0, libvirtd_stop },
    { "libvirtd", "kill", 0, libvirtd_kill },
    { "libvirtd", "restart", 0, libvirtd_restart },
    { "guest", "start", 1, guest_start },
    { "guest", "define", 1, guest_define },
    { "guest", "create", 1, guest_create },
    { "guest", "destroy", 1, guest_destroy },
    { "guest", "undefine", 1, guest_undefine },
    { "guest", "xml", 1, guest_xml },
    { "guest", "serial", 1, guest_serial },
    { "guest", "nonce", 1, guest_nonce },
    { "guest", "tick", 1, guest_tick },
    { "guest", "check", 1, guest_check },
    { "guest", "wait-tick", 2, guest_wait_tick },
    { "guest", "wait-ticking", 1, guest_wait_ticking },
    { "guest", "wait-quiet", 1, guest_wait_quiet },
    { "guest", "command", 2, guest_command },
    { "agent", "start", 0, agent_start },
    { "agent", "term", 0, agent_term },
    { "agent", "kill", 0, agent_kill },
    { "node", "crash", 0, node_crash },
    { "node", "new-boot", 0, node_new_boot },
};

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; argc >= 3 && i < G_N_ELEMENTS(commands); i++) {
        const Command *command = &commands[i];

        if (!g_str_equal(argv[1], command->room) || !g_str_equal(argv[2], command->verb)
            || argc - 3 < command->min_words)
            continue;
        if (command->run(argc - 3, argv + 3, &error))
            return EXIT_SUCCESS;
        g_printerr("lab-tool: %s\n", error != NULL ? error->message : "failed");
        return EXIT_FAILURE;
    }
    g_printerr("%s", usage);
    return 2;
}
