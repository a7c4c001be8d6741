/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "vault_fixture.h"

#include <sys/stat.h>

G_BEGIN_DECLS

/*
 * A kubelet's folder with one pod, as a stranger may have left it, a vault with one guest's folder,
 * and a victim outside: a folder with a file, which nothing that is done to the pod may touch.
 */
#define LAUNCHER_UID   "6f9e9b7c-3c52-4b7e-9a34-0d1f6f1f9c11"
#define LAUNCHER_GUEST "5c1d0a52-6f0b-4b6e-8c7e-7d3c1c0e7b4a"
#define LAUNCHER_USER  107

typedef struct {
    char *dir;
    char *kubelet;  /* <dir>/kubelet */
    char *private_; /* the emptyDir of that name */
    char *save;     /* <private>/libvirt/qemu/save */
    char *managed;  /* M: <save>/ns_vm.save */
    char *hold;     /* H: <dir>/vault/<guest>/image */
    char *victims;  /* a place where a pod's way leads on to the victim's folder */
    char *victim;   /* <victims>/save/ns_vm.save, a file */
    struct stat victim_file;
    struct stat victim_folder;
} Launcher;

/* cmocka: *state is a Launcher; its pods are distrusted until the teardown. Skips without root. */
int launcher_setup(void **state);
int launcher_teardown(void **state);

/* Removes everything below @path and makes the pod's folders anew. */
void launcher_reset(const Launcher *self);
/* Writes an image of @data_len and @body at @path. */
WkFileId launcher_write_image(const char *path, guint32 data_len, gsize body);
/* The victim is what it was: owner, mode, names, size, time, content; nothing is beside it. */
void launcher_check_victim(const Launcher *self);

G_END_DECLS
