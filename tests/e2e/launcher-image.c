/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What src/vault does to an image that libvirt wrote, with a real libvirtd and a real guest: saved
 * into the file that was linked beforehand, claimed, its XML written anew, put over a guard, and
 * restored from.
 */
#include "config.h"

#include "vault/launcher_image.h"
#include "vault/vault.h"
#include "virt-fixture.h"

#include "base/error.h"
#include "base/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define TITLE "<title>the XML of the next pod, which is longer than it was</title>"

typedef struct {
    Guest guest;
    WkVault *vault;
    char *hold;
    char *nonce;
    WkFileId file;
} Saved;

static void
saved_clear(Saved *self)
{
    fixture_guest_clear(&self->guest);
    wk_vault_unref(self->vault);
    g_free(self->hold);
    g_free(self->nonce);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Saved, saved_clear)

/* Save 3 to 13. */
static Saved
save(const char *name)
{
    Saved self = { .guest = fixture_start(name, NULL) };
    g_auto(WkImageLook) seen = { 0 };
    g_auto(WkImageLook) managed = { 0 };

    lab_ok((self.nonce = lab_guest_nonce(name, &error)) != NULL);
    lab_ok(wk_files_make_folder(LAB_STATE_DIR, &error));
    lab_ok((self.vault = wk_vault_open(LAB_STATE_DIR "/vault", TRUE, &error)) != NULL);
    self.hold = wk_vault_hold_path(self.vault, self.guest.uuid);
    lab_ok(wk_vault_make_folder(self.vault, self.guest.uuid, &error));
    lab_ok(wk_launcher_image_create(self.hold, self.guest.image, &self.file, &error));
    lab_ok(wk_launcher_image_link(self.hold, self.guest.image, &error));
    lab_ok(wk_domain_suspend(self.guest.connection, self.guest.uuid, &error));
    lab_ok(wk_domain_set_op(self.guest.connection, self.guest.uuid, FIXTURE_OP, &error));
    lab_ok(wk_domain_managed_save(self.guest.connection, self.guest.uuid, &error));
    lab_ok(wk_image_look(self.guest.image, &managed, &error));
    lab_ok(wk_image_look(self.hold, &seen, &error));
    assert_true(wk_file_id_equal(&seen.file, &managed.file)); /* into that very inode */
    assert_true(wk_file_id_same_inode(&seen.file, &self.file));
    assert_int_equal(seen.kind, WK_IMAGE_FINAL);
    self.file = seen.file;
    lab_ok(wk_launcher_image_claim(self.hold, &self.file, LAB_GUEST_MIB * 1024, &error));
    lab_ok(wk_image_unlink(self.guest.image, &self.file, &error));
    return self;
}

static void
put_guard(const char *managed)
{
    lab_ok(wk_guard_write(managed, &error));
    lab_ok(wk_guard_sync(managed, &error));
    lab_ok(wk_guard_rename(managed, &error));
}

/* Returns: (transfer full): @header with a longer XML. */
static GBytes *
retitle(GBytes *header)
{
    g_autofree char *xml = NULL;
    g_autofree char *changed = NULL;
    GBytes *rewritten = NULL;
    const char *at;

    lab_ok((xml = wk_launcher_header_get_xml(header, &error)) != NULL);
    at = strstr(xml, "</uuid>");
    assert_non_null(at);
    at += strlen("</uuid>");
    changed = g_strdup_printf("%.*s" TITLE "%s", (int)(at - xml), xml, at);
    lab_ok((rewritten = wk_launcher_header_with_xml(header, changed, &error)) != NULL);
    return rewritten;
}

/* libvirt's cookie, which it needs for the guest's CPU, is there before and after. */
static const char *
cookie_of(GBytes *header)
{
    const char *bytes = g_bytes_get_data(header, NULL);
    guint32 offset;

    memcpy(&offset, bytes + 32, sizeof offset);
    assert_true(offset > 0);
    return bytes + 92 + offset;
}

static void
test_restored_from_rewritten(void **state G_GNUC_UNUSED)
{
    g_auto(Saved) saved = save("shared");
    const Guest *guest = &saved.guest;
    g_autoptr(GBytes) header = NULL;
    g_autoptr(GBytes) changed = NULL;
    g_autoptr(GError) refusal = NULL;
    g_autofree char *after = NULL;
    char *xml;

    put_guard(guest->image);
    assert_false(wk_domain_create(guest->connection, guest->uuid, TRUE, &refusal)); /* F13 */
    fixture_assert_power(guest, WK_POWER_OFF, NULL);
    lab_ok((header = wk_launcher_header_read(saved.hold, &saved.file, &error)) != NULL);
    changed = retitle(header);
    assert_string_equal(cookie_of(header), cookie_of(changed));
    lab_ok(wk_launcher_header_write(saved.hold, &saved.file, changed, &error));
    xml = virDomainSaveImageGetXMLDesc(wk_connection_get(guest->connection), saved.hold, 0);
    assert_non_null(xml);
    assert_non_null(strstr(xml, TITLE));
    free(xml);
    lab_ok(wk_launcher_image_give(saved.hold, guest->image, &saved.file, &error));
    lab_ok(wk_launcher_image_stage(saved.hold, guest->image, &saved.file, &error));
    lab_ok(wk_domain_create(guest->connection, guest->uuid, TRUE, &error));
    fixture_assert_power(guest, WK_POWER_LOADED, FIXTURE_OP);
    lab_ok(wk_domain_resume(guest->connection, guest->uuid, &error));
    lab_ok(lab_guest_wait_ticking("shared", LAB_WAIT_MS, &error));
    lab_ok((after = lab_guest_nonce("shared", &error)) != NULL);
    assert_string_equal(saved.nonce, after);
    lab_ok(lab_guest_check_log("shared", &error));
}

/* libvirt writes the same bytes as we do, and takes back what we wrote. */
static void
test_as_libvirt_does(void **state G_GNUC_UNUSED)
{
    g_auto(Saved) saved = save("alike");
    virConnectPtr connection = wk_connection_get(saved.guest.connection);
    g_autoptr(GBytes) header = NULL;
    g_autoptr(GBytes) theirs = NULL;
    g_autoptr(GBytes) ours = NULL;
    g_autofree char *xml = NULL;
    g_auto(WkImageLook) seen = { 0 };

    lab_ok((header = wk_launcher_header_read(saved.hold, &saved.file, &error)) != NULL);
    ours = retitle(header);
    lab_ok((xml = wk_launcher_header_get_xml(ours, &error)) != NULL);
    assert_int_equal(
        virDomainSaveImageDefineXML(connection, saved.hold, xml, VIR_DOMAIN_SAVE_PAUSED), 0);
    lab_ok(wk_image_look(saved.hold, &seen, &error));
    lab_ok((theirs = wk_launcher_header_read(saved.hold, &seen.file, &error)) != NULL);
    assert_int_equal(g_bytes_get_size(theirs), g_bytes_get_size(ours));
    assert_string_equal(cookie_of(theirs), cookie_of(ours));
    lab_ok(wk_launcher_header_write(saved.hold, &saved.file, header, &error));
    g_clear_pointer(&theirs, g_bytes_unref);
    lab_ok((theirs = wk_launcher_header_read(saved.hold, &saved.file, &error)) != NULL);
    assert_true(g_bytes_equal(theirs, header));
}

static int
start_libvirtd(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restored_from_rewritten),
        cmocka_unit_test(test_as_libvirt_does),
    };

    return cmocka_run_group_tests(tests, start_libvirtd, NULL);
}
