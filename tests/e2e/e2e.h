/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the end-to-end tests share on top of lab.h: the agent as its users see it (API and
 * wukongctl), virsh as other people use it, and the files and rows that lie behind.
 *
 * Every function fails the running test by itself. "Pairs" are member names and the values that
 * they must have, ending in NULL; "" means absent, a value "*text" need only contain the text.
 */
#pragma once

#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

#define E2E_VAULT   LAB_STATE_DIR "/vault"
#define E2E_OTHERS  1000 /* ms in which what others did to a guest is published */
#define E2E_MISSING "/nothing"

/* --- around each test --- */

/* Group: libvirtd. Test: an agent without failpoints and with the default configuration, and no
 * guests; afterwards agent, guests, ledger and vault go. */
int e2e_start_node(void **state);
int e2e_setup(void **state);
int e2e_teardown(void **state);
#define e2e_test(function) cmocka_unit_test_setup_teardown(function, e2e_setup, e2e_teardown)
/* WK_E2E_ONLY='test_x*' runs only those. */
#define e2e_main(tests)                                                                            \
    (cmocka_set_test_filter(g_getenv("WK_E2E_ONLY")),                                              \
     cmocka_run_group_tests(tests, e2e_start_node, NULL))

/* The agent anew (SIGKILL, start), with @failpoint ("save.link-hold=kill"; NULL: none). */
void e2e_agent_restart(const char *failpoint);

/* The agent anew, with this text as wukongd.conf; NULL: no file. */
void e2e_agent_configure(const char *text);

/* Waits until the agent has stopped itself at a failpoint "=stop"; and lets it go on. */
void e2e_agent_wait_stopped(void);
void e2e_agent_continue(void);

/* Waits for the end of an agent that a failpoint kills. */
void e2e_agent_wait_killed(void);

/* --- the API --- */

/* A request whose status must be @status. Returns: (transfer full): the answer's object. */
JsonObject *e2e_http(const char *method, const char *path, const char *body, int status);

/* (transfer full): a member as text; "" when absent. */
char *e2e_member(JsonObject *object, const char *member);
char *e2e_guest(const char *name, const char *member);
char *e2e_operation(const char *id, const char *member);

/* The guest now; or as soon as it is so, in @timeout_ms. */
void e2e_check_guest(const char *name, ...) G_GNUC_NULL_TERMINATED;
void e2e_wait_guest(const char *name, guint timeout_ms, ...) G_GNUC_NULL_TERMINATED;
void e2e_wait_guest_gone(const char *name, guint timeout_ms);

/* POST /v1/guests/@name/@action, which must be accepted. Returns: (transfer full): its id. */
char *e2e_submit(const char *name, const char *action, const char *body);

/* Waits for its end, then checks the pairs; or waits until the pairs hold. */
void e2e_wait_end(const char *id, ...) G_GNUC_NULL_TERMINATED;
void e2e_wait_operation(const char *id, ...) G_GNUC_NULL_TERMINATED;

/* How many operations the agent knows of. */
guint e2e_count_operations(void);

/* --- wukongctl and virsh --- */

/* wukongctl, whose exit status must be @status. Returns: (transfer full): what it printed. */
char *e2e_ctl(int status, ...) G_GNUC_NULL_TERMINATED;
/* The same when what it printed must contain @text. */
void e2e_ctl_says(int status, const char *text, ...) G_GNUC_NULL_TERMINATED;

/* virsh, which must succeed. Returns: (transfer full): its output, stripped. */
char *e2e_virsh(const char *verb, ...) G_GNUC_NULL_TERMINATED;
void e2e_virsh_do(const char *verb, const char *name);
void e2e_virsh_refused(const char *verb, const char *name); /* which must fail */
void e2e_check_domstate(const char *name, const char *state);

/* --- guests --- */

void e2e_guest_start(const char *name);
void e2e_guest_start_filled(const char *name, guint fill_mib);
void e2e_check_runs(const char *name);   /* ticks, and its RAM never ran twice */
void e2e_check_stands(const char *name); /* does not tick */

/* What it was when it was remembered; later it must be the same RAM, gone on. */
typedef struct {
    char *name;
    LabTick tick;
} E2eLife;
E2eLife *e2e_remember(const char *name);
void e2e_check_same_life(const E2eLife *life);
void e2e_check_other_life(const E2eLife *life);
void e2e_life_free(E2eLife *life);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(E2eLife, e2e_life_free)

/* --- behind the scenes --- */

/* (transfer full): the paths M and H of docs/ledger.md. */
char *e2e_managed_path(const char *name);
char *e2e_hold_path(const char *name);

/* (transfer full): a column of the guest's row in the ledger; "none" when there is no row. */
char *e2e_ledger(const char *name, const char *column);
void e2e_check_ledger(const char *name, const char *column, const char *value);

/* Nothing is saved, and nothing of a save is left: no files, no row but "none". */
void e2e_check_no_image(const char *name);

/* Both names are there, and are one file, final, of root alone. */
void e2e_check_image(const char *name);

/* Changes one byte of a file, @at from its start (from its end: below 0). */
void e2e_flip_byte(const char *path, gint64 at);
/* As a disk that forgets does it: without a trace in the inode's times. */
void e2e_flip_byte_unseen(const char *path, gint64 at);

/* --- saves held in the middle (e2e-brake.c) --- */

/* From now on libvirt's saves come to a crawl after their first bytes, with their job running. */
void e2e_brake_on(void);
/* Waits until so many saves are held. */
void e2e_brake_wait(guint n);
guint e2e_brake_count(void);
/* Lets the held ones go on; later ones aren't held. No brake is fine. */
void e2e_brake_off(void);

G_END_DECLS
