/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "wukong/wukong.h"

G_BEGIN_DECLS

/*
 * wukongctl: what its commands share. One process does one command on one thread; only follow.c
 * has a second one.
 */

/* Exit statuses; those of failed requests are the codes of WUKONG_ERROR. */
enum {
    WK_EXIT_DONE = 0,
    WK_EXIT_FAILED = 1,
    WK_EXIT_USAGE = 2,
    WK_EXIT_NO = 3, /* is-*: it is not */
    WK_EXIT_NO_GUEST = 4,
    WK_EXIT_NO_DAEMON = 5,
    WK_EXIT_REFUSED = 6,
    WK_EXIT_INTERRUPTED = 130,
};

typedef enum {
    WK_CTL_TABLE,
    WK_CTL_JSON, /* bodies of the API */
    WK_CTL_NAME, /* one reusable GUEST a line */
} WkCtlFormat;

typedef struct {
    char *socket_path;
    WkCtlFormat format;
    gboolean quiet;       /* nothing but errors is printed */
    WukongClient *client; /* made once the options are known */
} WkCtl;

/* One command; every cmd-*.c defines one or a small family. */
typedef struct _WkCommand WkCommand;
struct _WkCommand {
    const char *name;
    const char *arguments; /* as shown in the help; NULL: none */
    const char *summary;
    int min_words;     /* GUESTs at least, unless --all is given */
    int max_words;     /* -1: any number */
    gboolean with_all; /* --all may stand for GUEST... */
    /* Returns: the exit status; not looked at when @error is set, which main() prints. */
    int (*run)(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error);
};

extern const WkCommand wk_cmd_cancel;
extern const WkCommand wk_cmd_discard;
extern const WkCommand wk_cmd_verify;
extern const WkCommand wk_cmd_prune;
extern const WkCommand wk_cmd_doctor;
extern const WkCommand wk_cmd_images;
extern const WkCommand wk_cmd_is_running;
extern const WkCommand wk_cmd_is_suspended;
extern const WkCommand wk_cmd_list;
extern const WkCommand wk_cmd_resume;
extern const WkCommand wk_cmd_status;
extern const WkCommand wk_cmd_suspend;
extern const WkCommand wk_cmd_version;
extern const WkCommand wk_cmd_wait;
extern const WkCommand wk_cmd_watch;

/* All commands in the order of the help; NULL-ended. */
extern const WkCommand *const wk_commands[];

/* The whole program but the process's set-up. Returns: the exit status. */
int wk_ctl_main(int argc, char **argv);

/* Printing. Results go to stdout, errors and notes to stderr; --quiet leaves only errors. What
 * comes from outside is made printable first: wk_ctl_error() does it by itself. */
void wk_ctl_out(const WkCtl *ctl, const char *format, ...) G_GNUC_PRINTF(2, 3);
void wk_ctl_note(const WkCtl *ctl, const char *format, ...) G_GNUC_PRINTF(2, 3);
void wk_ctl_error(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Prints @text, an API body, as it is. */
void wk_ctl_out_json(const WkCtl *ctl, const char *text);

/* Ctrl-C from here on ends the process at once with WK_EXIT_INTERRUPTED. */
void wk_ctl_die_on_interrupt(void);

/* The exit status for @error: wrong usage, the codes of WUKONG_ERROR, or failed. */
int wk_ctl_status_of(const GError *error);

/* The status of several guests: 0 if all did, the common one if all failures agree, else 1. */
int wk_ctl_status_merge(int so_far, int next);

G_END_DECLS
