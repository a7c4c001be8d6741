/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "unit.h"

#include "agent/cluster_private.h"
#include "kubevirt-fixture.h"

typedef struct {
    KubeFixture *api;
    WkClusterLink *link;
    WkCluster *cluster;
} ClusterFixture;

/* One question and its answer; begins as zeroes. */
typedef struct _ClusterWork {
    WkCluster *cluster;
    gboolean (*ask)(struct _ClusterWork *self);
    GThread *thread;
    gint done; /* atomic */
    gboolean ok;
    WkVmi *vmi;
    WkVm *vm;
    WkClaim *claim;
    WkPin *pin;
    gboolean pinned;
    GError *error;
} ClusterWork;

int cluster_setup(void **state);
int cluster_teardown(void **state);
#define TEST(function) cmocka_unit_test_setup_teardown(function, cluster_setup, cluster_teardown)

/* @ask runs in a thread of its own, as workers do; its answer is waited for by the main loop. */
void cluster_begin(ClusterFixture *fixture, ClusterWork *work, gboolean (*ask)(ClusterWork *work));
void cluster_finish(ClusterWork *work);
void cluster_work_clear(ClusterWork *work);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ClusterWork, cluster_work_clear)

void cluster_assert_failed(const ClusterWork *work, WkErrorCode code, const char *reason);
