/* SPDX-License-Identifier: Apache-2.0 */
/* What the end-to-end tests of src/virt share: a guest, looks at it, and calls that last. */
#pragma once

#include "lab.h"
#include "virt/domain.h"

G_BEGIN_DECLS

#define FIXTURE_URI "qemu:///system"
#define FIXTURE_OP  "0b1f6a3e-8f0c-4c5b-9b0e-1d2c3a4b5c6d"

/* Enough RAM that a save and a restore can be met on their way. */
extern const LabGuestOptions fixture_big;

/* The guest of a running test, and a connection for looks. */
typedef struct {
    WkConnection *connection;
    char *uuid;
    char *image;
} Guest;

void fixture_guest_clear(Guest *guest);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Guest, fixture_guest_clear)

/* Each of these fails the test when it can't. */
WkConnection *fixture_open(void);
Guest fixture_start(const char *name, const LabGuestOptions *options);
void fixture_look(const Guest *guest, WkLook *seen);

/* That power, no job, and that mark. */
void fixture_assert_power(const Guest *guest, WkPower power, const char *op);

/* A call that lasts, in a thread of its own. */
typedef struct {
    gboolean (*func)(WkConnection *connection, const char *uuid, GError **error);
    const Guest *guest;
    GThread *thread;
    GError *error;
    gboolean success;
    gboolean done; /* atomic */
} Call;

void fixture_call_start(Call *call);
gboolean fixture_call_join(Call *call);

/* Looks until a job of @power is met. Fails when @call ends before. */
void fixture_meet_job(const Guest *guest, Call *call, WkPower power);

G_END_DECLS
