/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/options.h"

#include "base/names.h"
#include "base/units.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MAX_S 86400

/* The global options of one parse; they may stand before and behind the verb. */
typedef struct {
    char *socket_path;
    char *format;
    gboolean quiet;
    gboolean version;
    gboolean all;
    char **words;
} Globals;

static void
globals_clear(Globals *self)
{
    g_free(self->socket_path);
    g_free(self->format);
    g_strfreev(self->words);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Globals, globals_clear)

void
wk_ctl_args_clear(WkCtlArgs *self)
{
    g_clear_pointer(&self->words, g_strfreev);
}

static void
add_global_entries(GOptionContext *context, Globals *globals)
{
    const GOptionEntry entries[] = {
        { "socket", 0, 0, G_OPTION_ARG_FILENAME, &globals->socket_path,
          "The daemon's socket (default: $WUKONG_SOCKET or " WUKONG_DEFAULT_SOCKET ")", "PATH" },
        { "output", 'o', 0, G_OPTION_ARG_STRING, &globals->format, "How to print results",
          "table|json|name" },
        { "quiet", 'q', 0, G_OPTION_ARG_NONE, &globals->quiet, "Print nothing but errors", NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &globals->version, "Print this program's version",
          NULL },
        G_OPTION_ENTRY_NULL,
    };

    g_option_context_add_main_entries(context, entries, NULL);
}

static gboolean
set_format(WkCtl *ctl, const char *name, GError **error)
{
    static const char *const formats[] = { "table", "json", "name", NULL };

    if (!wk_ctl_check_word("--output", name, formats, error))
        return FALSE;
    for (int i = 0; formats[i] != NULL; i++) {
        if (g_str_equal(formats[i], name))
            ctl->format = (WkCtlFormat)i;
    }
    return TRUE;
}

/* Moves what was given into @ctl: the later one wins. */
static gboolean
apply(WkCtl *ctl, Globals *globals, GError **error)
{
    if (globals->version) {
        printf("wukongctl %s\n", PACKAGE_VERSION);
        exit(fflush(stdout) == 0 ? WK_EXIT_DONE : WK_EXIT_FAILED);
    }
    if (globals->socket_path != NULL && *globals->socket_path == '\0') {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--socket: a path is needed");
        return FALSE;
    }
    if (globals->socket_path != NULL) {
        g_free(ctl->socket_path);
        ctl->socket_path = g_steal_pointer(&globals->socket_path);
    }
    ctl->quiet = ctl->quiet || globals->quiet;
    return globals->format == NULL || set_format(ctl, globals->format, error);
}

char *
wk_ctl_describe_commands(void)
{
    GString *text = g_string_new("Commands:\n");

    for (gsize i = 0; wk_commands[i] != NULL; i++) {
        const WkCommand *command = wk_commands[i];
        g_autofree char *usage = g_strdup_printf(
            "%s %s", command->name, command->arguments != NULL ? command->arguments : "");

        g_string_append_printf(text, "  %-28s %s\n", usage, command->summary);
    }
    g_string_append(text, "\nGUEST is a name, SOURCE:NAME, a UUID or its unique beginning (4 or "
                          "more characters);\nwhere several may stand, also a shell-style pattern, "
                          "or --all.\n'wukongctl COMMAND --help' tells a command's options.");
    return g_string_free(text, FALSE);
}

gboolean
wk_ctl_parse_main(WkCtl *ctl, int *argc, char ***argv, GError **error)
{
    g_auto(Globals) globals = { 0 };
    g_autofree char *commands = wk_ctl_describe_commands();
    g_autoptr(GOptionContext) context = g_option_context_new("COMMAND [GUEST...]");

    g_option_context_set_summary(context, "Suspends and resumes this host's virtual machines.");
    g_option_context_set_description(context, commands);
    g_option_context_set_strict_posix(context, TRUE); /* later options are the command's */
    add_global_entries(context, &globals);
    return g_option_context_parse(context, argc, argv, error) && apply(ctl, &globals, error);
}

/* Returns: (transfer full): "wukongctl suspend GUEST...". */
static char *
usage_of(const WkCommand *command)
{
    return g_strdup_printf("wukongctl %s%s%s", command->name, command->arguments != NULL ? " " : "",
                           command->arguments != NULL ? command->arguments : "");
}

static gboolean
check_words(const WkCommand *command, const Globals *globals, GError **error)
{
    const int n = globals->words != NULL ? (int)g_strv_length(globals->words) : 0;
    g_autofree char *usage = usage_of(command);

    if (globals->all && n > 0) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "--all and a GUEST exclude each other");
        return FALSE;
    }
    if (!globals->all && n < command->min_words) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "which GUEST? usage: %s", usage);
        return FALSE;
    }
    if (command->max_words >= 0 && n > command->max_words) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "'%s' is one word too many: usage: %s", globals->words[command->max_words],
                    usage);
        return FALSE;
    }
    for (int i = 0; i < n; i++) {
        if (*globals->words[i] != '\0')
            continue;
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "a GUEST can't be empty");
        return FALSE;
    }
    return TRUE;
}

gboolean
wk_ctl_parse(WkCtl *ctl, const WkCommand *command, const GOptionEntry *entries, int argc,
             char **argv, WkCtlArgs *args, GError **error)
{
    g_auto(Globals) globals = { 0 };
    const GOptionEntry words[] = {
        { "all", 0, 0, G_OPTION_ARG_NONE, &globals.all, "All guests it can apply to", NULL },
        G_OPTION_ENTRY_NULL,
    };
    const GOptionEntry remaining[] = {
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &globals.words, NULL, NULL },
        G_OPTION_ENTRY_NULL,
    };
    g_autofree char *parameters = g_strdup(command->arguments);
    g_autoptr(GOptionContext) context = g_option_context_new(parameters);
    g_autofree char *program = g_strdup_printf("wukongctl %s", command->name);

    g_set_prgname(program); /* the help's usage line */
    g_option_context_set_summary(context, command->summary);
    if (entries != NULL)
        g_option_context_add_main_entries(context, entries, NULL);
    if (command->with_all)
        g_option_context_add_main_entries(context, words, NULL);
    add_global_entries(context, &globals);
    g_option_context_add_main_entries(context, remaining, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error) || !apply(ctl, &globals, error)
        || !check_words(command, &globals, error))
        return FALSE;
    args->all = globals.all;
    args->words = globals.words != NULL ? g_steal_pointer(&globals.words) : g_new0(char *, 1);
    if (ctl->client == NULL)
        ctl->client = wukong_client_new(ctl->socket_path);
    return TRUE;
}

/* A bare number is seconds. */
static gboolean
read_seconds(const char *text, guint64 *seconds)
{
    guint64 ms = 0;

    if (g_ascii_string_to_unsigned(text, 10, 0, TIMEOUT_MAX_S, seconds, NULL))
        return TRUE;
    if (!wk_units_parse_duration(text, &ms, NULL) || ms % 1000 != 0)
        return FALSE;
    *seconds = ms / 1000;
    return TRUE;
}

gboolean
wk_ctl_parse_timeout(const char *text, guint min, guint *seconds, GError **error)
{
    guint64 value = 0;

    if (text == NULL)
        return TRUE;
    if (read_seconds(text, &value) && value >= min && value <= TIMEOUT_MAX_S) {
        *seconds = (guint)value;
        return TRUE;
    }
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "--timeout: '%s' is not a number of seconds from %u to %d", text, min,
                TIMEOUT_MAX_S);
    return FALSE;
}

gboolean
wk_ctl_check_word(const char *option, const char *text, const char *const *allowed, GError **error)
{
    g_autofree char *list = NULL;

    if (text == NULL || g_strv_contains(allowed, text))
        return TRUE;
    list = g_strjoinv(", ", (char **)allowed);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "%s: '%s' is not known: use one of %s", option, text, list);
    return FALSE;
}
