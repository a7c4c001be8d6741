/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cluster-fixture.h"

int
cluster_setup(void **state)
{
    ClusterFixture *self = g_new0(ClusterFixture, 1);
    void *api = NULL;
    WkOwner wukong = { .ns = (char *)"shop", .name = (char *)"web", .uid = (char *)"w-1" };
    const WkClusterGuest about = {
        .ns = "shop", .name = "web-vm", .node_name = "node-1", .wukong = &wukong
    };

    /* else a worker runs what is meant for the main loop by itself, between two turns of that */
    assert_true(g_main_context_acquire(NULL));
    kube_setup(&api);
    self->api = api;
    self->link = wk_cluster_link_new(self->api->kube);
    self->cluster = wk_cluster_link_open(self->link, &about);
    *state = self;
    return 0;
}

int
cluster_teardown(void **state)
{
    ClusterFixture *self = *state;
    void *api = self->api;

    wk_cluster_free(self->cluster);
    wk_cluster_link_close(self->link);
    wk_cluster_link_unref(self->link);
    g_free(self);
    kube_teardown(&api);
    g_main_context_release(NULL);
    return 0;
}

/* ---- a worker ---- */

static gpointer
run_work(gpointer data)
{
    ClusterWork *self = data;

    self->ok = self->ask(self);
    g_atomic_int_set(&self->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

void
cluster_begin(ClusterFixture *fixture, ClusterWork *work, gboolean (*ask)(ClusterWork *work))
{
    work->cluster = fixture->cluster;
    work->ask = ask;
    work->thread = g_thread_new("worker", run_work, work);
}

static gboolean
is_done(gpointer work)
{
    return g_atomic_int_get(&((ClusterWork *)work)->done) != 0;
}

void
cluster_finish(ClusterWork *work)
{
    fake_wait_until(is_done, work, "the worker's answer");
    g_thread_join(work->thread);
    assert_int_equal(work->ok, work->error == NULL);
}

void
cluster_work_clear(ClusterWork *work)
{
    wk_vmi_free(work->vmi);
    wk_vm_free(work->vm);
    wk_claim_free(work->claim);
    wk_pin_free(work->pin);
    g_clear_error(&work->error);
}

void
cluster_assert_failed(const ClusterWork *work, WkErrorCode code, const char *reason)
{
    if (work->ok || !g_error_matches(work->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(work->error), reason) != 0)
        fail_msg("code %d '%s' was expected: %s", (int)code, reason,
                 work->error != NULL ? work->error->message : "it went well");
}
