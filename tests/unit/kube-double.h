/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"

/*
 * Stands in for the client (kube/client.h): what is sent is kept until the test answers it, so that
 * a test decides what comes first, an answer or what the watch tells. No sockets, no waiting.
 * Main thread; one at a time.
 */
typedef struct {
    char *line; /* "METHOD PATH" */
    char *type; /* of the body */
    char *body;
    GTask *task; /* NULL: answered */
} DoubleCall;

void double_reset(void); /* forgets all calls; what was not answered is cancelled */
/* NULL: leave calls to the test. Called from the main loop. */
void double_set_handler(void (*handler)(DoubleCall *call, gpointer data), gpointer data);

guint double_count(const char *fragment); /* calls with @fragment in their line, so far */
guint double_count_waiting(const char *fragment);
DoubleCall *double_get(const char *fragment, guint index);
/* Iterates until a call with @fragment waits; the oldest. Fails the test after 10 s. */
DoubleCall *double_wait(const char *fragment);
void double_wait_count(const char *fragment, guint n);

void double_answer(DoubleCall *call, const char *body);
void double_fail(DoubleCall *call, int code, const char *reason, const char *message);

/* Iterates until nothing is ready, without waiting for timers. */
void double_settle(void);
/* Iterates for @ms: only to see that nothing comes. */
void double_idle(guint ms);
void double_wait_until(gboolean (*check)(gpointer data), gpointer data, const char *what);
