/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault walks: a scenario is run once to learn the steps that it passes, then again with a fault
 * at each of them, and after each the oracle asks whether the guest was lost, ran twice, or was
 * said to be something that it is not (invariants I1 to I4, I7).
 *
 * Threading: none.
 */
#pragma once

#include "lab.h"

G_BEGIN_DECLS

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)

#define WALK_GUEST     "walk"
#define WALK_SAVE_FILE LAB_SAVE_DIR "/" WALK_GUEST ".save" /* M */
#define WALK_VAULT     LAB_STATE_DIR "/vault"
#define WALK_SETTLE_MS 180000

/* How a guest can be found once everything has come to rest. */
typedef enum {
    WALK_RUNS = 1 << 0,
    WALK_PAUSED = 1 << 1,       /* in memory */
    WALK_DISK = 1 << 2,         /* sealed, restorable */
    WALK_OFF = 1 << 3,          /* nothing of it is saved */
    WALK_HELD = 1 << 4,         /* quarantined, off */
    WALK_HELD_RUNNING = 1 << 5, /* quarantined, and somebody runs it */
    WALK_FOREIGN = 1 << 6,      /* saved by somebody else */
} WalkEnd;

typedef enum {
    WALK_NO_FAULT,
    WALK_KILL,
    WALK_EIO,
    WALK_ENOSPC,
    WALK_FAULTS,
} WalkFault;

typedef struct _WalkScenario WalkScenario;

/* What goes on now; one guest, one case at a time. */
typedef struct {
    const WalkScenario *scenario;
    const char *guest;             /* NULL: WALK_GUEST */
    const char *const *agent_args; /* NULL: those of an agent without Kubernetes */
    char *uuid;
    char *hold; /* H */
    char nonce[33];
    char *op;        /* id of the last request */
    WalkEnd ended;   /* as the oracle saw it */
    gsize log_at;    /* where this case begins in the log of the agent */
    gboolean traced; /* the scenario's own agent is to run under strace */
    gboolean armed;  /* the agent that runs has failpoints */
    gboolean fresh_needed;
} Walk;

typedef gboolean (*WalkAct)(Walk *walk, GError **error);

struct _WalkScenario {
    const char *name;
    WalkAct prepare;         /* an agent without faults runs; may end it */
    WalkAct offline;         /* no agent runs; may be NULL */
    WalkAct act;             /* the agent with the fault runs; NULL: it recovers, that is all */
    const char *arm;         /* more failpoints of that agent */
    const char *const *only; /* starts of the steps that are walked here; NULL: all */
    guint ends;              /* WalkEnd, without a fault */
    guint fault_ends;        /* with one */
    gboolean ram_may_go;     /* the scenario itself gives up the guest's memory */
    /* what outsiders do besides */
    gboolean any_autostart;
    gboolean any_outcome;
    gboolean foreign_save; /* there may be an image of somebody else */
};

const WalkScenario *walk_scenarios(gsize *n);

void walk_init(Walk *walk);
void walk_clear(Walk *walk);
/* Runs @scenario up to its rest, or to the agent's death. */
gboolean walk_run(Walk *walk, const WalkScenario *scenario, const char *failpoints, GError **error);

/* By WK_WALK_ONLY=SCENARIO[/...], where it is set. */
gboolean walk_is_wanted(const WalkScenario *scenario);
/* Steps and rows that no scenario can meet, each with its reason there. */
gboolean walk_is_out_of_reach(const char *step_or_row);

/* --- the agent (walk-agent.c) --- */

/* Ends the agent if it runs and starts it with WK_FAILPOINT=@failpoints (NULL: none). Returns when
 * it is ready, or has died of its failpoint. */
gboolean walk_agent_start(Walk *walk, const char *failpoints, GError **error);
gboolean walk_agent_end(GError **error); /* SIGTERM; not running is fine */
gboolean walk_agent_is_alive(void);

/* Posts @verb with @body, and notes the operation. An agent that dies of it is no error. */
gboolean walk_post(Walk *walk, const char *verb, const char *body, GError **error);
/* The same, and waits until the operation has ended or the agent has died. */
gboolean walk_request(Walk *walk, const char *verb, const char *body, GError **error);
gboolean walk_await(Walk *walk, GError **error);
/* Waits until the operation is at @step. */
gboolean walk_await_step(Walk *walk, const char *step, GError **error);
/* Waits until the agent has stopped itself (failpoint "stop"), or died. */
gboolean walk_await_stopped(GError **error);
gboolean walk_continue(GError **error);

/* Starts the agent with @failpoint=kill, requests, and waits until it is dead. */
gboolean
walk_die_at(Walk *walk, const char *failpoint, const char *verb, const char *body, GError **error);

/* What the API says of the guest or the last operation: member -> text. NULL on error. */
GHashTable *walk_get_guest(Walk *walk, GError **error);
GHashTable *walk_get_operation(Walk *walk);
/* The first object of {"items":[...]} in @text whose "name" is the guest's. */
GHashTable *walk_parse_guest(const char *text, GError **error);

/* The steps passed since the case began, "name:n" in order. (element-type utf8) */
GPtrArray *walk_trace(Walk *walk);
/* The recovery rows that were taken since then; each is added to @rows. */
void walk_note_rows(Walk *walk, GHashTable *rows);
void walk_mark_log(Walk *walk);
char *walk_log_since(Walk *walk);
/* For whoever looks into a bad case: WK_WALK_LOGS=FOLDER keeps the agent's log of it. */
void walk_keep_log(Walk *walk, const char *scenario, const char *what);

/* Once the agent has ended: what strace saw of it. */
char *walk_strace(GError **error);

/* --- steps and calls (walk-calls.c) --- */

/* The watched events of a strace, in order. */
GPtrArray *walk_calls_read(Walk *walk, const char *text);
/* Each call follows its own step, and each step that @arm does not let fail is followed by its
 * call. */
gboolean walk_calls_check(GPtrArray *events, const char *arm, guint *n_calls, GError **error);
/* Takes one line after the other away; each time the check has to fail. Returns: how many lines it
 * were, 0 on error, or when there are none. */
guint walk_calls_bite(GPtrArray *events, const char *arm, GError **error);

/* --- the ledger, read with SQLite beside the agent (walk-ledger.c) --- */

/* Returns: (transfer full): "none", "sealed", ...; NULL when it can't be read. */
char *walk_ledger_state(Walk *walk, GError **error);
/* The id of the save in the guest's row. */
char *walk_ledger_op(Walk *walk);
/* How many rows the ledger has of each kind but ended operations, which are history, as one text;
 * (transfer full), NULL with @error. */
char *walk_ledger_rows(GError **error);
gboolean walk_ledger_check(GError **error);
/* Open operations of the guest. -1 on error. */
int walk_ledger_open_operations(Walk *walk, GError **error);

/* --- the oracle (walk-oracle.c) --- */

typedef enum {
    WALK_GOOD,
    WALK_LOST,
    WALK_DOUBLED,
    WALK_SILENT, /* what is said is not so, or nothing is said */
    WALK_LEFTOVER,
    WALK_BROKEN, /* anything else: it does not come to rest, ... */
    WALK_VERDICTS,
} WalkVerdict;

const char *walk_verdict_name(WalkVerdict verdict);

/* Waits until libvirt, ledger and API agree on an end, or the agent is dead. */
gboolean walk_rest(Walk *walk, GError **error);

/* Waits until all is at rest, and looks at everything. */
WalkVerdict walk_inspect(Walk *walk, guint ends, GError **error);

/* The same, and brings the guest to life where it can. */
WalkVerdict walk_judge(Walk *walk, guint ends, GError **error);

/* --- outsiders (walk-outside.c) --- */

gboolean walk_virsh_start(guint flags, GError **error);
gboolean walk_virsh_resume(GError **error);
gboolean walk_virsh_suspend(GError **error);
gboolean walk_virsh_save(GError **error);
gboolean walk_flip_byte(const char *path, goffset offset, GError **error);
gboolean walk_write_image(const char *path, const char *magic, GError **error);
/* The bytes of a guard, as docs/ledger.md has them; FALSE with @error where @path is none. */
gboolean walk_write_guard(const char *path, GError **error);
gboolean walk_is_guard(const char *path, GError **error);
gboolean walk_link(const char *from, const char *to, GError **error);
gboolean walk_touch_disk(GError **error);
void walk_signal_qemu(int signal);

/* A running guest with the nonce that is noted, and an agent without faults. */
gboolean walk_base(Walk *walk, GError **error);

G_END_DECLS
