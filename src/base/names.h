/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * Tables of names for enumerations: names[value], one string each. They are what users, the ledger
 * and the wire see, so a name never changes once released.
 */

/* Returns: (transfer none): the name, or "?" when @value is outside the table. */
const char *wk_name_of(const char *const *names, gsize n_names, int value);

/* Looks @name up, exactly. Returns: FALSE with WK_ERROR_INVALID that names @what and lists what
 * is allowed (entries that are NULL or "" are not offered); @value untouched then. */
gboolean wk_name_parse(const char *const *names, gsize n_names, const char *what, const char *name,
                       int *value, GError **error);

/* Returns: (transfer full): @text with control characters, U+xxFFFE, U+xxFFFF and invalid UTF-8 as
 * \xNN, so that a name from outside can be printed; @text may be NULL (gives ""). */
char *wk_name_printable(const char *text);

G_END_DECLS
