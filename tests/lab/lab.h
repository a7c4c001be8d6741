/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What end-to-end tests stand on: a node of one's own with libvirtd, real guests and the agent.
 *
 * Everything here works only inside lab-run (see lab-run.c). What is running is kept in files
 * under LAB_DIR, so that a C test and lab-tool in a shell script see the same things. Whether a
 * guest runs is judged from outside: its serial log and libvirt's state.
 *
 * Each function that can fail takes a GError; lab_ok() turns it into a failed cmocka test. Each
 * wait has a deadline in milliseconds.
 *
 * Threading: none; one test, one thread.
 */
#pragma once

#include <gio/gio.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

G_BEGIN_DECLS

#define LAB_DIR       "/var/lib/lab"
#define LAB_STATE_DIR "/var/lib/wukong"
#define LAB_CONTROL   "/run/wukong/control.sock"
#define LAB_CONFIG    "/etc/wukong/wukongd.conf"
#define LAB_SAVE_DIR  "/var/lib/libvirt/qemu/save"
#define LAB_LOG_DIR   "/var/log/lab"
#define LAB_WAIT_MS   30000 /* for anything that normally takes seconds at most */
#define LAB_GUEST_MIB 128   /* RAM of a guest unless asked otherwise */
#define LAB_TICK_MS   100   /* a guest prints a line that often */
#define LAB_QUIET_MS  600   /* no line for so long: the CPUs stand */

#define LAB_ERROR (lab_error_quark())
GQuark lab_error_quark(void);

typedef enum {
    LAB_ERROR_FAILED,
    LAB_ERROR_TIMEOUT,
} LabError;

/* Sets @error from libvirt's last error. */
void lab_error_set_from_libvirt(GError **error, const char *what);

/* --- processes and waits (lab-util.c) --- */

typedef gboolean (*LabCheck)(gpointer data);

/* Looks every 10 ms until @check says TRUE. LAB_ERROR_TIMEOUT names @what. */
gboolean
lab_wait(const char *what, guint timeout_ms, LabCheck check, gpointer data, GError **error);

/* Returns: FALSE when this is not a lab-run, or its guests' kernel is missing. Called by all
 * others by themselves. */
gboolean lab_init(GError **error);

/* $WK_BUILDDIR/@name, (transfer full). */
char *lab_build_path(const char *name);

typedef struct {
    int status; /* exit status, or 128 + signal */
    char *out;
    char *err;
} LabOutput;

void lab_output_clear(LabOutput *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LabOutput, lab_output_clear)

/* @env: "KEY=VALUE"s on top of our own, NULL-terminated; may be NULL. A program that ends with a
 * non-zero status is no error; one that lasts longer than @timeout_ms is killed and is one. */
gboolean lab_run_capture(const char *const *argv, const char *const *env, guint timeout_ms,
                         LabOutput *output, GError **error);

/* Starts a daemon in a session of its own, output appended to LAB_LOG_DIR/@name.log, its pid
 * kept as @name. Returns: the pid, or -1. */
GPid lab_spawn(const char *name, const char *const *argv, const char *const *env, GError **error);

/* Returns: the pid kept as @name if that process lives, else 0. */
GPid lab_pid(const char *name);

/* Sends @signal and waits for the end. Not running is no error. @status (may be NULL): exit
 * status or 128 + signal; -1 if it was not running. */
gboolean lab_kill(const char *name, int signal, guint timeout_ms, int *status, GError **error);

/* Waits for the end of a daemon that ends by itself; as lab_kill() without the signal. */
gboolean lab_wait_exit(const char *name, guint timeout_ms, int *status, GError **error);

/* Returns: (transfer full): the whole of LAB_LOG_DIR/@name.log, "" if there is none. */
char *lab_log(const char *name);

/* --- processes, by /proc (lab-proc.c) --- */

guint lab_count_entries(const char *folder);              /* 0 as well where there is none */
guint lab_count_of(const char *name, const char *folder); /* in /proc/PID of daemon @name: "fd" */
/* "Field:   123 kB" of a status file; NAN when it is not there. */
double lab_status_number(const char *path, const char *field);
double lab_rss_anon_kib(const char *name); /* of daemon @name; NAN when it is not there */
/* Returns: the first process of this node that has @argument in its command line; 0: none. */
GPid lab_find_process(const char *argument);

/* --- libvirtd (lab-libvirtd.c) --- */

gboolean lab_libvirtd_start(GError **error);   /* ready when it returns; running already is fine */
gboolean lab_libvirtd_stop(GError **error);    /* SIGTERM; guests live on */
gboolean lab_libvirtd_kill(GError **error);    /* SIGKILL; guests live on */
gboolean lab_libvirtd_restart(GError **error); /* SIGKILL, then start */

/* Returns: (transfer full): a connection of its own, NULL on error. */
virConnectPtr lab_connect(GError **error);

/* Returns: (transfer full): NULL when there is none. */
virDomainPtr lab_domain(const char *name, GError **error);

/* Returns: a virDomainState, -1 on error; @reason may be NULL. */
int lab_domain_state(const char *name, int *reason, GError **error);
gboolean lab_domain_wait_state(const char *name, int state, guint timeout_ms, GError **error);

/* --- guests (lab-guest.c, lab-golden.c, lab-serial.c) --- */

typedef struct {
    guint memory_mib; /* 0: LAB_GUEST_MIB */
    guint fill_mib;   /* RAM dirtied with what does not compress; waited for */
    gboolean disk;    /* a raw disk of 16 MiB as vda */
    gboolean cold;    /* boot it instead of waking a copy of the golden image (5 s, not 1) */
    gboolean transient;
} LabGuestOptions;

/* A running guest with a nonce of its own; @options may be NULL. An old one of that name goes. */
gboolean lab_guest_start(const char *name, const LabGuestOptions *options, GError **error);

/* The same guest, defined but off. */
gboolean lab_guest_define(const char *name, const LabGuestOptions *options, GError **error);

/* virDomainCreate() of a defined guest, as an administrator does; waits until it ticks. */
gboolean lab_guest_create(const char *name, GError **error);
gboolean lab_guest_destroy(const char *name, GError **error);  /* off; not running is fine */
gboolean lab_guest_undefine(const char *name, GError **error); /* off and gone, images too */

/* Returns: (transfer full): the domain XML of such a guest, for tests that change it. */
char *lab_guest_xml(const char *name, const LabGuestOptions *options);
char *lab_guest_uuid(const char *name); /* (transfer full): made of the name, always the same */
char *lab_guest_serial_path(const char *name); /* (transfer full) */
char *lab_guest_disk_path(const char *name);   /* (transfer full) */

typedef struct {
    char nonce[33];
    guint64 tick;
    guint64 filled; /* MiB */
    guint64 wrote;  /* last counter written to the disk */
} LabTick;

/* The last whole line on the serial log. */
gboolean lab_guest_last_tick(const char *name, LabTick *tick, GError **error);
char *lab_guest_nonce(const char *name, GError **error);  /* (transfer full) */
guint64 lab_guest_tick(const char *name, GError **error); /* 0 on error */
gboolean
lab_guest_wait_tick_above(const char *name, guint64 tick, guint timeout_ms, GError **error);

/* Returns: TRUE as soon as a new line came within @window_ms. */
gboolean lab_guest_is_ticking(const char *name, guint window_ms);
gboolean lab_guest_wait_ticking(const char *name, guint timeout_ms, GError **error);

/* Waits until no line came for LAB_QUIET_MS. */
gboolean lab_guest_wait_quiet(const char *name, guint timeout_ms, GError **error);

/* "I1 never twice", seen from outside: in the whole serial log of this guest no (nonce, tick) is
 * printed twice and within a nonce no tick is left out. */
gboolean lab_guest_check_log(const char *name, GError **error);

/* Sends a command (guest-init.c lists them). Returns: (transfer full): the answer after "ok". */
char *lab_guest_command(const char *name, const char *command, guint timeout_ms, GError **error);

/* --- the agent and its command line (lab-agent.c) --- */

typedef struct {
    const char *const *args; /* after the program's name; NULL: {"--no-kube"} */
    const char *const *env;  /* "KEY=VALUE"s */
    guint timeout_ms;        /* until /readyz says 200; 0: LAB_WAIT_MS */
    gboolean no_wait;        /* don't wait for it: it is meant to fail or to hang */
} LabAgentOptions;

gboolean lab_agent_start(const LabAgentOptions *options, GError **error); /* options may be NULL */
gboolean lab_agent_wait_ready(guint timeout_ms, GError **error);
gboolean lab_agent_term(int *status, GError **error); /* SIGTERM; @status may be NULL */
gboolean lab_agent_kill(GError **error);              /* SIGKILL */
gboolean lab_agent_restart(const LabAgentOptions *options, GError **error); /* SIGKILL, start */

/* One request to the control socket. @body: JSON or NULL. @answer (may be NULL): (transfer full).
 * Returns: the HTTP status, -1 when nobody answers. */
int lab_http(const char *method, const char *path, const char *body, char **answer, GError **error);

/* wukongctl with these words, the last one NULL. */
gboolean lab_ctl(LabOutput *output, GError **error, ...) G_GNUC_NULL_TERMINATED;
gboolean lab_ctlv(LabOutput *output, const char *const *words, guint timeout_ms, GError **error);

/* --- the node (lab-node.c) --- */

/* kill -9 of libvirtd, every QEMU, the agent, and what they started. Disks stay. */
gboolean lab_node_crash(GError **error);

/* After a crash: another boot id, an empty /run. Returns: FALSE if something still runs. */
gboolean lab_node_new_boot(GError **error);

/* --- for cmocka --- */

/* Fails the running test with @error's message; @error is freed. */
void lab_fail(const char *file, int line, const char *what, GError *error);

/* lab_ok(lab_guest_start("a", NULL, &error)): goes on only when it is true. It brings the @error
 * that the call names. */
#define lab_ok(call)                                                                               \
    do {                                                                                           \
        GError *error = NULL;                                                                      \
        if (!(call))                                                                               \
            lab_fail(__FILE__, __LINE__, #call, error);                                            \
    } while (0)

G_END_DECLS
