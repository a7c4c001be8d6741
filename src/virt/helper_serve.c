/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_serve.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/domain.h"
#include "virt/domain_xml.h"
#include "virt/error.h"
#include "virt/handles.h"
#include "virt/helper_line.h"
#include "virt/helper_wire.h"
#include "virt/watch.h"

#include <stdlib.h>

/* A save, and beside it looks, progress and the abort; of these some may wait for libvirt. */
#define THREADS   4
#define CALLS_MAX 16

#define AWAIT_POLL_US 20000

struct _WkHelperServer {
    int agent;
    WkConnection *connection; /* NULL: none */
    /* For a save. On one connection a look made during it may be answered only when it is over:
     * libvirt's client has no event loop here, and the thread in the save reads for all. */
    WkConnection *lasting;
    GThreadPool *pool;
    GMutex write_lock;
};

typedef struct {
    WkHelperServer *server;
    JsonObject *object; /* what @request points into */
    WkHelperRequest request;
    guint64 id;
} Job;

static void
answer(WkHelperServer *self, guint64 id, JsonObject *result, const GError *failed)
{
    g_autofree char *line =
        failed != NULL ? wk_helper_error_format(id, failed) : wk_helper_result_format(id, result);

    g_mutex_lock(&self->write_lock);
    if (!wk_helper_lines_write(self->agent, line))
        _Exit(EXIT_FAILURE);
    g_mutex_unlock(&self->write_lock);
}

/* Returns: (transfer full): the UUID of the domain of that name, or NULL. */
static char *
find(WkConnection *connection, const char *name, GError **error)
{
    char uuid[VIR_UUID_STRING_BUFLEN];
    g_autoptr(virDomain) domain = virDomainLookupByName(wk_connection_get(connection), name);

    if (domain != NULL && virDomainGetUUIDString(domain, uuid) == 0)
        return g_strdup(uuid);
    wk_virt_set_error(error, "looking for domain '%s'", name);
    return NULL;
}

/* A domain that is not there is an answer, too. */
static gboolean
take_look(WkConnection *connection, const char *name, gboolean brief, WkLook *seen, GError **error)
{
    g_autoptr(GError) failed = NULL;
    g_autofree char *uuid = find(connection, name, &failed);

    if (uuid != NULL)
        return (brief ? wk_domain_look_brief : wk_domain_look)(connection, uuid, seen, error);
    wk_look_clear(seen);
    if (g_error_matches(failed, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failed));
    return FALSE;
}

static JsonObject *
look(WkConnection *connection, const char *name, gboolean brief, GError **error)
{
    g_auto(WkLook) seen = { 0 };

    return take_look(connection, name, brief, &seen, error) ? wk_helper_write_look(&seen) : NULL;
}

/* libvirt tells of it by an event; for that its client wants an event loop, which no call here
 * has. A look takes a tenth of a millisecond. */
static JsonObject *
await_loaded(WkConnection *connection, const char *name, GError **error)
{
    const gint64 until_us =
        wk_clock_mono_us() + WK_HELPER_AWAIT_MS * (gint64)G_TIME_SPAN_MILLISECOND;
    g_auto(WkLook) seen = { 0 };
    gboolean busy = FALSE;

    while (take_look(connection, name, TRUE, &seen, error)) {
        const gboolean was_busy = busy;

        busy = wk_look_is_busy(&seen);
        if (wk_look_is_loaded(&seen) || (was_busy && !busy) || wk_clock_mono_us() > until_us)
            return wk_helper_write_look(&seen);
        g_usleep(AWAIT_POLL_US);
    }
    return NULL;
}

static JsonObject *
read_facts(WkConnection *connection, const char *uuid, GError **error)
{
    g_autoptr(WkFacts) facts = wk_domain_read_facts(connection, uuid, error);

    return facts != NULL ? wk_helper_write_facts(facts) : NULL;
}

static JsonObject *
progress(WkConnection *connection, const char *uuid, GError **error)
{
    guint64 done = 0;
    guint64 total = 0;

    return wk_domain_job_progress(connection, uuid, &done, &total, error)
               ? wk_helper_write_progress(done, total)
               : NULL;
}

/* The managed save of a domain, by the domain: its path is the pod's affair. */
static gboolean
set_paused(WkConnection *connection, const char *uuid, GError **error)
{
    g_autoptr(virDomain) domain = wk_virt_find(connection, uuid, error);
    gboolean success;
    char *xml;

    if (domain == NULL)
        return FALSE;
    xml = virDomainManagedSaveGetXMLDesc(domain, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    if (xml == NULL)
        return wk_virt_check(-1, domain, "reading the image of", error);
    success = wk_virt_check(virDomainManagedSaveDefineXML(domain, xml, VIR_DOMAIN_SAVE_PAUSED),
                            domain, "changing the image of", error);
    free(xml);
    return success;
}

/* The calls whose answer is only that it was done. */
typedef gboolean (*Simple)(WkConnection *connection, const char *uuid, GError **error);

static const Simple simple[WK_HELPER_METHODS] = {
    [WK_HELPER_SUSPEND] = wk_domain_suspend,
    [WK_HELPER_RESUME] = wk_domain_resume,
    [WK_HELPER_DESTROY] = wk_domain_destroy,
    [WK_HELPER_SHUTDOWN] = wk_domain_shutdown,
    [WK_HELPER_SAVE] = wk_domain_managed_save,
    [WK_HELPER_SAVE_REMOVE] = wk_domain_managed_save_remove,
    [WK_HELPER_SAVE_SET_PAUSED] = set_paused,
    [WK_HELPER_ABORT_JOB] = wk_domain_abort_job,
    [WK_HELPER_SYNC_TIME] = wk_domain_sync_time,
    [WK_HELPER_MAKE_PERSISTENT] = wk_domain_make_persistent,
};

static JsonObject *
call_domain(WkConnection *connection, const WkHelperRequest *request, GError **error)
{
    g_autofree char *uuid = find(connection, request->domain, error);
    gboolean success;

    if (uuid == NULL)
        return NULL;
    if (request->method == WK_HELPER_FACTS)
        return read_facts(connection, uuid, error);
    if (request->method == WK_HELPER_PROGRESS)
        return progress(connection, uuid, error);
    success = request->method == WK_HELPER_SET_OP
                  ? wk_domain_set_op(connection, uuid, request->text, error)
                  : simple[request->method](connection, uuid, error);
    return success ? json_object_new() : NULL;
}

static JsonObject *
read_image(const char *xml, GError **error)
{
    g_autoptr(WkFacts) facts = wk_domain_xml_parse(xml, error);
    g_autofree char *op = facts != NULL ? wk_domain_xml_get_op(xml) : NULL;

    return facts != NULL ? wk_helper_write_image(op, facts) : NULL;
}

static JsonObject *
rewrite_image(const WkHelperRequest *request, GError **error)
{
    g_autofree char *xml = wk_domain_xml_rewrite(request->text, request->from, request->to, error);

    return xml != NULL ? wk_helper_write_text(xml) : NULL;
}

static JsonObject *
make_call(WkConnection *connection, const WkHelperRequest *request, GError **error)
{
    switch (request->method) {
    case WK_HELPER_LOOK:
    case WK_HELPER_LOOK_BRIEF:
        return look(connection, request->domain, request->method == WK_HELPER_LOOK_BRIEF, error);
    case WK_HELPER_AWAIT_LOADED:
        return await_loaded(connection, request->domain, error);
    case WK_HELPER_CHECK_STARTABLE:
        return wk_domain_check_startable(connection, NULL, request->text, error) ? json_object_new()
                                                                                 : NULL;
    case WK_HELPER_READ_IMAGE:
        return read_image(request->text, error);
    case WK_HELPER_REWRITE_IMAGE:
        return rewrite_image(request, error);
#ifdef WK_FAILPOINTS
    case WK_HELPER_PROBE:
        return wk_helper_write_text(wk_helper_probe(request->text));
#endif
    default:
        return call_domain(connection, request, error);
    }
}

/* What a call can't do without. */
static gboolean
is_whole(const WkHelperServer *self, const WkHelperRequest *request)
{
    const WkHelperKind *kind = wk_helper_kind(request->method);
    const gboolean by_text = !kind->libvirt || request->method == WK_HELPER_CHECK_STARTABLE;

    return (self->connection != NULL || !kind->libvirt)
           && (by_text ? request->text != NULL : request->domain != NULL)
           && (request->method != WK_HELPER_SET_OP || request->text != NULL)
           && (request->method != WK_HELPER_REWRITE_IMAGE
               || (request->from != NULL && request->to != NULL));
}

/* A libvirt that is lost stays lost for this process: the agent starts another. */
static void
run_job(gpointer data, gpointer user_data G_GNUC_UNUSED)
{
    g_autofree Job *job = data;
    WkHelperServer *self = job->server;
    WkConnection *connection =
        job->request.method == WK_HELPER_SAVE ? self->lasting : self->connection;
    g_autoptr(GError) failed = NULL;
    g_autoptr(JsonObject) result = make_call(connection, &job->request, &failed);

    answer(self, job->id, result, failed);
    json_object_unref(job->object);
    if (connection != NULL && !wk_connection_is_alive(connection))
        _Exit(EXIT_FAILURE);
}

/* Takes @job (transfer full). */
static void
queue(WkHelperServer *self, Job *job)
{
    g_autoptr(GError) busy = NULL;

    if (g_thread_pool_unprocessed(self->pool) < CALLS_MAX) {
        (void)g_thread_pool_push(self->pool, job, NULL);
        return;
    }
    wk_error_set(&busy, WK_ERROR_UNAVAILABLE, NULL, "too many calls at once");
    answer(self, job->id, NULL, busy);
    json_object_unref(job->object);
    g_free(job);
}

static gsize
longest_request(gpointer data G_GNUC_UNUSED)
{
    return WK_HELPER_LINE_MAX;
}

static gboolean
take_request(WkHelperServer *self, const char *line, gsize length)
{
    g_autofree Job *job = g_new0(Job, 1);

    job->server = self;
    job->object = wk_helper_request_parse(line, length, &job->id, &job->request, NULL);
    if (job->object == NULL)
        return FALSE;
    if (job->request.method == WK_HELPER_PING) {
        answer(self, job->id, NULL, NULL);
        json_object_unref(job->object);
        return TRUE;
    }
    if (!is_whole(self, &job->request)) {
        json_object_unref(job->object);
        return FALSE;
    }
    queue(self, g_steal_pointer(&job));
    return TRUE;
}

WkHelperServer *
wk_helper_server_new(int agent, WkConnection *connection, WkConnection *lasting, GError **error)
{
    WkHelperServer *self = g_new0(WkHelperServer, 1);

    self->agent = agent;
    self->connection = connection != NULL ? wk_connection_ref(connection) : NULL;
    self->lasting = lasting != NULL ? wk_connection_ref(lasting) : NULL;
    g_mutex_init(&self->write_lock);
    /* Exclusive: all of them are made at once. */
    self->pool = g_thread_pool_new(run_job, NULL, THREADS, TRUE, error);
    return self->pool != NULL ? self : NULL;
}

void
wk_helper_server_run(WkHelperServer *self)
{
    g_auto(WkHelperLines) lines = { 0 };
    const char *line;
    gsize length;

    wk_helper_lines_init(&lines, self->agent);
    while (wk_helper_lines_read(&lines, longest_request, NULL, &line, &length, NULL)) {
        if (!take_request(self, line, length))
            return;
    }
}
