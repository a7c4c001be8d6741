/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-private.h"

#include "lab-rest.h"

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#define AGENT        "wukongd"
#define CTL_MS       300000
#define AGENT_END_MS 60000

/* Where the build puts a program, (transfer full). */
static char *
find_program(const char *name, GError **error)
{
    g_autofree char *top = lab_build_path(name);
    g_autofree char *sub = g_strdup_printf("src/%s", name);
    g_autofree char *src = lab_build_path(sub);

    if (g_file_test(top, G_FILE_TEST_IS_EXECUTABLE))
        return g_steal_pointer(&top);
    if (g_file_test(src, G_FILE_TEST_IS_EXECUTABLE))
        return g_steal_pointer(&src);
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "no %s: is WK_BUILDDIR right?", top);
    return NULL;
}

int
lab_http(const char *method, const char *path, const char *body, char **answer, GError **error)
{
    g_autoptr(LabRest) rest = lab_rest_new_control();
    const int status = lab_rest_request(rest, method, path, body, error);

    if (answer != NULL)
        *answer = g_strdup(lab_rest_get_answer(rest));
    return status;
}

static gboolean
is_ready(gpointer data G_GNUC_UNUSED)
{
    /* one that has ended is told below, not waited for */
    return lab_pid(AGENT) == 0 || lab_http("GET", "/readyz", NULL, NULL, NULL) == 200;
}

gboolean
lab_agent_wait_ready(guint timeout_ms, GError **error)
{
    if (!lab_wait(AGENT " to be ready", timeout_ms, is_ready, NULL, error))
        return FALSE;
    if (lab_pid(AGENT) == 0) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                            AGENT " ended before it was ready, see its log");
        return FALSE;
    }
    return TRUE;
}

/* What is used after it was freed is not to look good. (transfer container) */
static GPtrArray *
agent_env(const char *const *env)
{
    GPtrArray *all = g_ptr_array_new();

    if (g_getenv("MALLOC_PERTURB_") == NULL) /* benches switch it off */
        g_ptr_array_add(all, (char *)"MALLOC_PERTURB_=165");
    for (gsize i = 0; env != NULL && env[i] != NULL; i++)
        g_ptr_array_add(all, (char *)env[i]);
    g_ptr_array_add(all, NULL);
    return all;
}

gboolean
lab_agent_start(const LabAgentOptions *options, GError **error)
{
    static const char *const usual_args[] = { "--no-kube", NULL };
    static const LabAgentOptions usual = { 0 };
    g_autofree char *program = NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GPtrArray) env = NULL;
    const char *const *args;

    if (options == NULL)
        options = &usual;
    if (!lab_init(error) || (program = find_program(AGENT, error)) == NULL)
        return FALSE;
    if (lab_pid(AGENT) != 0) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, AGENT " runs already");
        return FALSE;
    }
    args = options->args != NULL ? options->args : usual_args;
    g_ptr_array_add(argv, program);
    for (gsize i = 0; args[i] != NULL; i++)
        g_ptr_array_add(argv, (char *)args[i]);
    g_ptr_array_add(argv, NULL);
    env = agent_env(options->env);
    if (lab_spawn(AGENT, (const char *const *)argv->pdata, (const char *const *)env->pdata, error)
        < 0)
        return FALSE;
    return options->no_wait
           || lab_agent_wait_ready(options->timeout_ms != 0 ? options->timeout_ms : LAB_WAIT_MS,
                                   error);
}

gboolean
lab_agent_term(int *status, GError **error)
{
    return lab_kill(AGENT, SIGTERM, AGENT_END_MS, status, error);
}

gboolean
lab_agent_kill(GError **error)
{
    return lab_kill(AGENT, SIGKILL, AGENT_END_MS, NULL, error);
}

gboolean
lab_agent_restart(const LabAgentOptions *options, GError **error)
{
    return lab_agent_kill(error) && lab_agent_start(options, error);
}

gboolean
lab_ctlv(LabOutput *output, const char *const *words, guint timeout_ms, GError **error)
{
    g_autofree char *program = find_program("wukongctl", error);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    if (program == NULL)
        return FALSE;
    g_ptr_array_add(argv, program);
    for (gsize i = 0; words[i] != NULL; i++)
        g_ptr_array_add(argv, (char *)words[i]);
    g_ptr_array_add(argv, NULL);
    return lab_run_capture((const char *const *)argv->pdata, NULL, timeout_ms, output, error);
}

gboolean
lab_ctl(LabOutput *output, GError **error, ...)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    const char *word;
    va_list list;

    va_start(list, error);
    while ((word = va_arg(list, const char *)) != NULL)
        g_ptr_array_add(words, (char *)word);
    va_end(list);
    g_ptr_array_add(words, NULL);
    return lab_ctlv(output, (const char *const *)words->pdata, CTL_MS, error);
}
