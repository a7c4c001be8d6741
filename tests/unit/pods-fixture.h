/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <sys/types.h>

#include "virt/pods.h"

G_BEGIN_DECLS

/*
 * A kubelet's folder, in which a test plays kubelet and launchers, and WkPods beside it. A launcher
 * is a process with a mount namespace in which the pod's emptyDirs are mounted, as a container
 * runtime does it, and with a socket on which it listens.
 */
typedef struct {
    char *dir;
    char *kubelet;
    WkPods *pods;
    GString *log; /* what was told: "appeared N\n", N: the pod's number */
    WkPod *last;  /* the one last told of */
    guint told;
    void (*on_appeared)(WkPod *pod); /* may be NULL */
} Pods;

#define PODS_USER      107
#define PODS_EMPTY_DIR "volumes/kubernetes.io~empty-dir"

int pods_setup(void **state);
int pods_teardown(void **state);

/* Begins to follow. */
void pods_start(Pods *self);
/* Returns: (transfer none): the uid of pod @number; good until the next call. */
const char *pods_uid(guint number);
/* Returns: (transfer full): @below in the folder of pod @number. */
char *pods_path(const Pods *self, guint number, const char *below);

/* The kubelet's work: the pod's folder with these emptyDirs (0777), and its end. */
void pods_make(const Pods *self, guint number, const char *const *empty_dirs);
void pods_remove(const Pods *self, guint number);
/* The emptyDirs of a virt-launcher. */
extern const char *const pods_usual[];

/* How a launcher is started. */
typedef struct {
    uid_t user;
    gboolean outside;        /* not in the pod: without its mounts */
    gboolean user_namespace; /* in one of its own */
    gboolean deaf;           /* binds, never listens */
    const char *socket;      /* NULL: launcher-sock */
} LauncherOptions;

/* Returns: its pid, once it listens. */
pid_t pods_launch(const Pods *self, guint number, const LauncherOptions *options);
void pods_kill(pid_t pid);

/* Runs the main loop until @log is what was told; fails after 5 s. Clears it. */
void pods_expect(Pods *self, const char *log);
/* Runs the main loop for as long as there is something to do, and @quiet_ms more: nothing is told.
 */
void pods_expect_nothing(Pods *self, guint quiet_ms);

/* Open descriptors of this process; inotify watches as the kernel counts them. */
guint pods_count_descriptors(void);
guint pods_count_kernel_watches(void);

G_END_DECLS
