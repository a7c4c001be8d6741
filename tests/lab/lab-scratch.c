/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab-scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN_BYTES      8000 /* of our own logs */
#define SHOWN_QEMU_BYTES 300  /* of each guest's: the last words */

static const char *const folders[] = {
    "/lib",
    "/lib/lab",
    "/lib/lab/guests",
    "/lib/lab/state",
    "/lib/libvirt",
    "/lib/libvirt/qemu",
    "/lib/libvirt/qemu/save",
    "/lib/wukong",
    "/cache",
    "/cache/libvirt",
    "/log",
    "/log/libvirt",
    "/log/lab",
};

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static void
remove_tree(const char *path)
{
    if (nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        fprintf(stderr, "lab-run: removing %s: %s\n", path, strerror(errno));
}

static int
open_lock(const char *folder, const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static bool
is_kept(const char *folder)
{
    char path[600];

    snprintf(path, sizeof path, "%s/keep", folder);
    return access(path, F_OK) == 0;
}

/* A folder whose lock is free belongs to a run that is dead. */
static void
sweep(const char *base)
{
    struct dirent **names = NULL;
    int n = scandir(base, &names, NULL, NULL);
    char path[512];

    for (int i = 0; i < n; i++) {
        if (strncmp(names[i]->d_name, "run.", 4) == 0
            && snprintf(path, sizeof path, "%s/%s", base, names[i]->d_name) < (int)sizeof path
            && !is_kept(path)) {
            int fd = open_lock(path, "lock");

            if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
                remove_tree(path);
            if (fd >= 0)
                close(fd);
        }
        free(names[i]);
    }
    free(names);
}

static bool
find_base(const char *base, char *found, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    struct stat st;

    if (base == NULL)
        base = getenv("WK_LAB_DIR");
    if (base != NULL && *base != '\0')
        snprintf(found, size, "%s", base);
    else
        snprintf(found, size, "%s/wukong-lab", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
    if (mkdir(found, 0755) != 0 && errno != EEXIST)
        fprintf(stderr, "lab-run: %s: %s\n", found, strerror(errno));
    if (lstat(found, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        fprintf(stderr, "lab-run: %s is not a folder of ours\n", found);
        return false;
    }
    return true;
}

static bool
make_folders(const LabScratch *self)
{
    char path[600];

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s%s", self->path, folders[i]);
        if (mkdir(path, 0755) != 0) {
            fprintf(stderr, "lab-run: %s: %s\n", path, strerror(errno));
            return false;
        }
    }
    return true;
}

bool
lab_scratch_make(LabScratch *self, const char *base, bool keep)
{
    char folder[480];
    char *absolute;
    int base_lock;
    bool ok;

    if (!find_base(base, folder, sizeof folder) || (absolute = realpath(folder, NULL)) == NULL)
        return false;
    /* held while a folder exists without its lock, so that nobody sweeps it */
    base_lock = open_lock(absolute, ".lock");
    if (base_lock >= 0)
        flock(base_lock, LOCK_EX);
    sweep(absolute);
    self->keep = keep;
    snprintf(self->path, sizeof self->path, "%.480s/run.XXXXXX", absolute);
    ok = mkdtemp(self->path) != NULL && chmod(self->path, 0755) == 0;
    self->lock_fd = ok ? open_lock(self->path, "lock") : -1;
    ok = ok && self->lock_fd >= 0 && flock(self->lock_fd, LOCK_EX | LOCK_NB) == 0;
    if (!ok)
        fprintf(stderr, "lab-run: %s: %s\n", self->path, strerror(errno));
    if (base_lock >= 0)
        close(base_lock);
    free(absolute);
    return ok && make_folders(self);
}

void
lab_scratch_drop(LabScratch *self)
{
    if (self->keep) {
        int fd = open_lock(self->path, "keep");

        if (fd >= 0)
            close(fd);
        fprintf(stderr, "lab-run: kept %s\n", self->path);
    } else {
        remove_tree(self->path);
    }
    close(self->lock_fd);
}

/* libvirtd says this for each device of the host that is not in our network. */
static bool
is_noise(const char *line)
{
    return strstr(line, "virNetDevSendEthtoolIoctl") != NULL
           || strstr(line, "virCgroupDetectControllers") != NULL;
}

static void
show_log(const char *path, size_t most)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;

    if (file == NULL)
        return;
    if (fseek(file, -(long)most, SEEK_END) != 0)
        rewind(file);
    fprintf(stderr, "--- %s\n", path);
    while (getline(&line, &size, file) > 0)
        if (!is_noise(line))
            fprintf(stderr, "%s%s", line, strchr(line, '\n') != NULL ? "" : "\n");
    free(line);
    fclose(file);
}

static void
show_folder(const LabScratch *self, const char *name, size_t most)
{
    char folder[600];
    char path[900];
    struct dirent **names = NULL;
    int n;

    snprintf(folder, sizeof folder, "%s/%s", self->path, name);
    n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (strstr(names[i]->d_name, ".log") != NULL)
            show_log(path, most);
        free(names[i]);
    }
    free(names);
}

void
lab_scratch_show_logs(const LabScratch *self)
{
    show_folder(self, "log/lab", SHOWN_BYTES);
    show_folder(self, "log/libvirt/qemu", SHOWN_QEMU_BYTES);
}
