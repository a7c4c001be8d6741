/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt-fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

const LabGuestOptions fixture_big = { .memory_mib = 512, .fill_mib = 320 };

void
fixture_guest_clear(Guest *guest)
{
    wk_connection_unref(guest->connection);
    g_free(guest->uuid);
    g_free(guest->image);
}

WkConnection *
fixture_open(void)
{
    WkConnection *connection = NULL;

    lab_ok((connection = wk_connection_open(FIXTURE_URI, &error)) != NULL);
    return connection;
}

Guest
fixture_start(const char *name, const LabGuestOptions *options)
{
    lab_ok(lab_guest_start(name, options, &error));
    return (Guest){
        .connection = fixture_open(),
        .uuid = lab_guest_uuid(name),
        .image = g_strdup_printf(LAB_SAVE_DIR "/%s.save", name),
    };
}

void
fixture_look(const Guest *guest, WkLook *seen)
{
    lab_ok(wk_domain_look(guest->connection, guest->uuid, seen, &error));
}

void
fixture_assert_power(const Guest *guest, WkPower power, const char *op)
{
    g_auto(WkLook) seen = { 0 };

    fixture_look(guest, &seen);
    assert_string_equal(wk_power_name(seen.power), wk_power_name(power));
    assert_false(seen.job);
    assert_true(g_strcmp0(seen.op, op) == 0);
}

static gpointer
call_thread(gpointer data)
{
    Call *call = data;
    g_autoptr(WkConnection) own = wk_connection_open(FIXTURE_URI, NULL);

    call->success = own != NULL && call->func(own, call->guest->uuid, &call->error);
    g_atomic_int_set(&call->done, TRUE);
    return NULL;
}

void
fixture_call_start(Call *call)
{
    call->thread = g_thread_new("call", call_thread, call);
}

gboolean
fixture_call_join(Call *call)
{
    (void)g_thread_join(call->thread);
    return call->success;
}

void
fixture_meet_job(const Guest *guest, Call *call, WkPower power)
{
    gboolean met = FALSE;

    while (!met && !g_atomic_int_get(&call->done)) {
        g_auto(WkLook) seen = { 0 };

        fixture_look(guest, &seen);
        met = seen.job && seen.power == power;
    }
    assert_true(met);
}
