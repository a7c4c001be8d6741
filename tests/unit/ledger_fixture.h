/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/operation.h"
#include "vault/ledger.h"

G_BEGIN_DECLS

/* What the tests of the ledger share. A failure fails the test; main thread only. */

/* Returns: (transfer none): the path of the ledger in the folder of *state. */
const char *fixture_ledger_path(void **state);

/* Returns: (transfer full): it, open. */
WkLedger *fixture_ledger(void **state);

/* Returns: (transfer full): made-up rows, every field at random; @number names the guest. */
WkRecord *fixture_random_record(GRand *rand, guint number);
WkOperation *fixture_random_operation(GRand *rand);

/* Everything durable is the same. */
void fixture_same_record(const WkRecord *a, const WkRecord *b);
void fixture_same_operation(const WkOperation *a, const WkOperation *b);
void fixture_expect_row(WkLedger *ledger, const WkRecord *expected);

/* Runs SQL on the database at @path as somebody else would. */
void fixture_sql(const char *path, const char *sql);

/* In a child: holds a write transaction on @path, says so on @report, and waits to be killed. */
void fixture_hold_database(const char *path, int report);

G_END_DECLS
