/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ctl/options.h"

G_BEGIN_DECLS

/* Guests as the daemon lists them (JsonObjects), and which of them a command line means. Pure but
 * for wk_ctl_fetch_guests(). */

/* Returns: (transfer full) (element-type JsonObject): all guests, by name; NULL with @error. */
GPtrArray *wk_ctl_fetch_guests(WkCtl *ctl, GError **error);

/* Sorts by name, then source, then id. */
void wk_ctl_sort_guests(GPtrArray *guests);

/* Returns: (transfer full): how @guest is called in messages: its name, or SOURCE:NAME where
 * several of @all have that name; printable. */
char *wk_ctl_guest_label(GPtrArray *all, JsonObject *guest);

/* Returns: (transfer full): a word that means @guest and nothing else, and is safe to print and to
 * use again: the name, SOURCE:NAME, or the id. */
char *wk_ctl_guest_word(GPtrArray *all, JsonObject *guest);

typedef struct {
    GPtrArray *guests;  /* (element-type JsonObject): each once, in the order of the words */
    GPtrArray *missing; /* (element-type GError): one for each word that means no guest */
    gboolean single;    /* one plain word was given: the answer is one object, not a list */
} WkCtlChoice;

void wk_ctl_choice_free(WkCtlChoice *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCtlChoice, wk_ctl_choice_free)

/* What @words, or --all, mean among @all: an exact name, SOURCE:NAME, NS/NAME or UUID first, then
 * the beginning of a UUID, then a pattern.
 * Returns: (transfer full), or NULL with WUKONG_ERROR_INVALID and the candidates for a word that
 * means several without being a pattern. */
WkCtlChoice *wk_ctl_choose(GPtrArray *all, const WkCtlArgs *args, GError **error);

/* One guest. Returns: (transfer none), or NULL: WUKONG_ERROR_NOT_FOUND or _INVALID; a pattern may
 * mean only one. */
JsonObject *wk_ctl_choose_one(GPtrArray *all, const char *word, GError **error);

G_END_DECLS
