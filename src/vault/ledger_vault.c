/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"

/*
 * Which vault the images are in. Two things would otherwise quarantine every image of a node,
 * which only `discard` ends (I2): a file system that has another st_dev after a reboot (device
 * mapper, btrfs), and one that is not mounted, with an empty folder in its place.
 */
#define ID_KEY     "vault_id"
#define DEVICE_KEY "vault_device"

static gboolean
any_held(sqlite3 *db, gboolean *held, GError **error)
{
    static const char what[] = "looking for images";
    g_autoptr(sqlite3_stmt) stmt =
        wk_ledger_prepare(db, "SELECT 1 FROM guests WHERE state != ?1 LIMIT 1", what, error);
    int code;

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, wk_ledger_state_name(WK_LEDGER_NONE), -1, SQLITE_STATIC)
        != SQLITE_OK)
        return wk_ledger_fail(db, what, error);
    code = sqlite3_step(stmt);
    *held = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE || wk_ledger_fail(db, what, error);
}

/* The vault has an id afterwards, and it is the noted one or may be noted. */
static gboolean
check_vault(sqlite3 *db, WkVault *vault, const char *noted, GError **error)
{
    gboolean held = FALSE;

    if (*noted == '\0')
        return wk_vault_make_id(vault, error);
    if (g_strcmp0(noted, wk_vault_get_id(vault)) == 0)
        return TRUE;
    if (!any_held(db, &held, error))
        return FALSE;
    if (!held)
        return wk_vault_make_id(vault, error);
    wk_error_set(error, WK_ERROR_REFUSED, "OtherVault",
                 "'%s' is not the vault that the saved guests are in (is it mounted?)",
                 wk_vault_get_dir(vault));
    return FALSE;
}

static gboolean
renumber(sqlite3 *db, guint64 from, guint64 to, GError **error)
{
    static const char what[] = "noting the vault's new device number";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(
        db, "UPDATE guests SET image_dev = ?2 WHERE image_dev = ?1 AND image_inode != 0", what,
        error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_int64(stmt, 1, (gint64)from) != SQLITE_OK
        || sqlite3_bind_int64(stmt, 2, (gint64)to) != SQLITE_OK)
        return wk_ledger_fail(db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_adopt_vault(WkLedger *self, WkVault *vault, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };
    const guint64 device = wk_vault_get_device(vault);
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, device);
    g_autofree char *noted_id = NULL;
    g_autofree char *noted_device = NULL;

    if (!wk_ledger_begin_write(self, &transaction, error)
        || !wk_ledger_get_meta(self->db, ID_KEY, &noted_id, error)
        || !wk_ledger_get_meta(self->db, DEVICE_KEY, &noted_device, error)
        || !check_vault(self->db, vault, noted_id, error))
        return FALSE;
    if (g_str_equal(noted_id, wk_vault_get_id(vault)) && g_str_equal(noted_device, text))
        return TRUE;
    if (g_str_equal(noted_id, wk_vault_get_id(vault))
        && !renumber(self->db, g_ascii_strtoull(noted_device, NULL, 10), device, error))
        return FALSE;
    return wk_ledger_set_meta(self->db, ID_KEY, wk_vault_get_id(vault), error)
           && wk_ledger_set_meta(self->db, DEVICE_KEY, text, error)
           && wk_ledger_end_write(self, &transaction, error);
}
