/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/lease.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

#define LEASES     "/apis/coordination.k8s.io/v1"
#define RENEW_S    10
#define DURATION_S 40
/* What only a person can mend is looked at again this seldom. */
#define LONG_MS (5 * 60 * 1000)
#define OWNER   "lease"

typedef enum {
    STEP_GET,
    STEP_CREATE,
    STEP_RENEW,
} Step;

struct _WkLease {
    WkOutlet *outlet;
    char *name;
    guint renew_ms;
    guint duration_s;
    Step step;          /* to be done next, or under way */
    JsonObject *object; /* as the server has it; NULL: not known */
    gboolean flying;
    gboolean stopped;
    guint failures;
    GSource *timer; /* NULL: none */
};

static gboolean on_due(gpointer data);

static void
go_on(WkLease *self, guint ms)
{
    if (!self->stopped)
        wk_outlet_start_timer(&self->timer, wk_outlet_ms(self->outlet, ms), on_due, self);
}

/* --- the object ------------------------------------------------------------------------------- */

/* Written into what the server has, so that what others put there stays. */
static void
fill_spec(WkLease *self, JsonObject *spec)
{
    const char *node = wk_outlet_get_node_name(self->outlet);
    const char *holder = wk_json_get_string(spec, "holderIdentity");
    g_autofree char *now = wk_outlet_format_micro(wk_clock_real_us());

    if (g_strcmp0(holder, node) != 0) {
        json_object_set_string_member(spec, "holderIdentity", node);
        json_object_set_string_member(spec, "acquireTime", now);
        if (holder != NULL)
            json_object_set_int_member(spec, "leaseTransitions",
                                       wk_json_get_int(spec, "leaseTransitions", 0) + 1);
    }
    json_object_set_int_member(spec, "leaseDurationSeconds", self->duration_s);
    json_object_set_string_member(spec, "renewTime", now);
}

static JsonObject *
new_object(WkLease *self)
{
    JsonObject *object = json_object_new();
    JsonObject *metadata = json_object_new();

    json_object_set_string_member(object, "apiVersion", "coordination.k8s.io/v1");
    json_object_set_string_member(object, "kind", "Lease");
    json_object_set_string_member(metadata, "name", self->name);
    json_object_set_string_member(metadata, "namespace", wk_outlet_get_namespace(self->outlet));
    json_object_set_object_member(object, "metadata", metadata);
    return object;
}

static char *
make_body(WkLease *self)
{
    if (self->step == STEP_CREATE) {
        g_clear_pointer(&self->object, json_object_unref);
        self->object = new_object(self);
    }
    if (wk_json_get_object(self->object, "spec") == NULL)
        json_object_set_object_member(self->object, "spec", json_object_new());
    fill_spec(self, wk_json_get_object(self->object, "spec"));
    return wk_json_to_text(self->object);
}

/* --- the rounds ------------------------------------------------------------------------------- */

static void
keep(WkLease *self, JsonObject *answer)
{
    Step was = self->step;
    guint tenth = self->renew_ms / 10;

    g_clear_pointer(&self->object, json_object_unref);
    self->object = json_object_ref(answer);
    self->step = STEP_RENEW;
    self->failures = 0;
    if (was == STEP_GET) {
        go_on(self, 0);
        return;
    }
    wk_outlet_clear_notices(self->outlet, OWNER);
    wk_outlet_tell_renewed(self->outlet);
    go_on(self, self->renew_ms - tenth + (guint)g_random_int_range(0, (gint)(2 * tenth + 1)));
}

static void
wait_long(WkLease *self, const char *reason, const GError *error)
{
    g_autofree char *text =
        g_strdup_printf("the Lease %s/%s can't be kept: %s", wk_outlet_get_namespace(self->outlet),
                        self->name, error->message);

    wk_outlet_notice(self->outlet, reason, OWNER, text);
    self->step = STEP_GET;
    go_on(self, LONG_MS);
}

static void
failed(WkLease *self, const GError *error)
{
    gboolean is_missing = g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND);
    guint backoff_ms;

    if (is_missing && self->step == STEP_CREATE) {
        wait_long(self, "NamespaceMissing", error);
        return;
    }
    if (!wk_outlet_is_outage(error) && g_error_matches(error, WK_ERROR, WK_ERROR_DENIED)) {
        wait_long(self, "LeaseForbidden", error);
        return;
    }
    if (is_missing)
        self->step = STEP_CREATE;
    else if (self->step == STEP_RENEW && !wk_outlet_is_outage(error))
        self->step = STEP_GET; /* somebody else wrote it */
    else if (self->step == STEP_CREATE)
        self->step = STEP_GET;
    backoff_ms = wk_kube_backoff_ms(++self->failures);
    go_on(self, is_missing || g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT)
                    ? backoff_ms / 8
                    : MIN(backoff_ms, self->renew_ms));
}

static void
on_answered(JsonObject *answer, const GError *error, gpointer data)
{
    WkLease *self = data;

    self->flying = FALSE;
    if (error != NULL)
        failed(self, error);
    else
        keep(self, answer);
}

static gboolean
on_due(gpointer data)
{
    WkLease *self = data;
    static const char *const methods[] = { "GET", "POST", "PUT" };
    g_autofree char *path = wk_outlet_path(LEASES, wk_outlet_get_namespace(self->outlet), "leases",
                                           self->step == STEP_CREATE ? NULL : self->name, NULL);
    g_autofree char *body = self->step == STEP_GET ? NULL : make_body(self);
    WkKubeRequest request = { methods[self->step], path, body != NULL ? "application/json" : NULL,
                              body };

    wk_outlet_drop_timer(&self->timer);
    self->flying = TRUE;
    wk_outlet_send(self->outlet, &request, on_answered, self, NULL);
    return G_SOURCE_REMOVE;
}

WkLease *
wk_lease_new(WkOutlet *outlet, guint renew_s, guint duration_s)
{
    WkLease *self = g_new0(WkLease, 1);

    self->outlet = wk_outlet_ref(outlet);
    self->name = g_strconcat("wukongd-", wk_outlet_get_node_name(outlet), NULL);
    self->renew_ms = (renew_s > 0 ? renew_s : RENEW_S) * 1000;
    self->duration_s = duration_s > 0 ? duration_s : DURATION_S;
    go_on(self, 0);
    return self;
}

void
wk_lease_hurry(WkLease *self)
{
    if (!self->flying && self->failures > 0)
        go_on(self, 0);
}

gboolean
wk_lease_is_flying(const WkLease *self)
{
    return self->flying;
}

void
wk_lease_stop(WkLease *self)
{
    self->stopped = TRUE;
    wk_outlet_drop_timer(&self->timer);
}

void
wk_lease_free(WkLease *self)
{
    if (self == NULL)
        return;
    wk_lease_stop(self);
    g_clear_pointer(&self->object, json_object_unref);
    wk_outlet_unref(self->outlet);
    g_free(self->name);
    g_free(self);
}
