/* SPDX-License-Identifier: Apache-2.0 */
/* The scratch folder of one lab-run: made, locked, removed; those of dead runs are swept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char path[512];
    int lock_fd; /* flock is held as long as anybody of this run lives */
    bool keep;
} LabScratch;

/* @base: NULL for $WK_LAB_DIR, or ${TMPDIR:-/tmp}/wukong-lab. Sweeps @base first.
 * Returns: false, and said on stderr, when it can't be made. */
bool lab_scratch_make(LabScratch *self, const char *base, bool keep);

/* Removes the folder, or says where it was kept. */
void lab_scratch_drop(LabScratch *self);

/* The last lines of each log of the run, on stderr. */
void lab_scratch_show_logs(const LabScratch *self);
