/* SPDX-License-Identifier: Apache-2.0 */
/* The engine with libvirt's test driver: what its listener may do in its calls. */
#include "config.h"

#include "vault_fixture.h"

#include "agent/engine_private.h"
#include "agent/guest.h"
#include "agent/task.h"
#include "ledger_fixture.h"
#include "virt/domain_xml.h"

#include <libvirt/libvirt.h>

#define GUEST   "6695eb01-f6a4-8304-79aa-97f2502e193f" /* of test:///default */
#define WAIT_MS 20000
#define PACE_MS 700 /* less than the first backoff */

static struct {
    WkLedger *ledger;
    WkEngine *engine;
    guint told;
    guint settled;
    guint deepest;
    guint depth;
} now;

/* Whoever listens names the guest's Wukong, which the guest is published with: from inside. */
static void
on_guest_changed(const WkView *view, gpointer data G_GNUC_UNUSED)
{
    const WkOwner owner = { .ns = (char *)"default", .name = (char *)"w", .uid = (char *)"u" };
    const gboolean is_new = view->owner.uid == NULL;

    now.told++;
    now.depth++;
    now.deepest = MAX(now.deepest, now.depth);
    wk_engine_set_owner(now.engine, view->id, &owner);
    now.depth--;
    assert_string_equal(view->id, GUEST);
    assert_string_equal(view->name, "test");
    assert_int_equal(view->owner.uid == NULL, is_new);
}

static void
on_guest_gone(const char *uuid G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
    fail_msg("the guest is not gone");
}

static void
on_operation_changed(const WkOperation *operation G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
}

static void
on_settled(gpointer data G_GNUC_UNUSED)
{
    now.settled++;
}

static const WkEngineListener listener = { .guest_changed = on_guest_changed,
                                           .guest_gone = on_guest_gone,
                                           .operation_changed = on_operation_changed,
                                           .settled = on_settled };

static void
on_up(WkSource *source, gpointer data G_GNUC_UNUSED)
{
    wk_engine_source_up(now.engine, source);
}

static void
on_down(WkSource *source G_GNUC_UNUSED, const char *why, gpointer data G_GNUC_UNUSED)
{
    fail_msg("libvirt's test driver went away: %s", why);
}

static void
on_changed(WkSource *source, const char *uuid, gpointer data G_GNUC_UNUSED)
{
    wk_engine_guest_touched(now.engine, source, uuid);
}

static const WkSourceListener source_listener = { .up = on_up,
                                                  .down = on_down,
                                                  .changed = on_changed };

static gboolean
on_overdue(gpointer data G_GNUC_UNUSED)
{
    fail_msg("the guest was not told of in time");
    return G_SOURCE_REMOVE;
}

/* An engine that knows the guest. */
static WkSource *
begin(void **state)
{
    WkLedger *ledger = now.ledger = fixture_ledger(state);
    const WkEngineOptions options = { .ledger = ledger,
                                      .cannot_save = "it is a test",
                                      .boot_id = "b",
                                      .default_target = WK_TARGET_MEMORY,
                                      .parallel_saves = 1,
                                      .parallel_restores = 1 };
    const WkSourceOptions host = {
        .name = "host", .uri = "test:///default", .long_calls = 1, .quick_calls = 1
    };
    WkSource *source = wk_source_new(&host, &source_listener, NULL);
    g_autoptr(GError) error = NULL;
    const guint timer = g_timeout_add(WAIT_MS, on_overdue, NULL);

    now.engine = wk_engine_new(&options, &listener, NULL);
    assert_true(wk_engine_add_source(now.engine, source, &error));
    wk_source_start(source);
    while (now.told < 2)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(timer);
    return source;
}

/* A look answers to the engine, which in the agent lives as long as the main loop. */
static void
end(WkSource *source)
{
    const WkGuest *guest = wk_engine_find(now.engine, GUEST);

    while (guest->looking)
        g_main_context_iteration(NULL, TRUE);
    wk_engine_quiesce(now.engine);
    while (!wk_engine_is_idle(now.engine))
        g_main_context_iteration(NULL, TRUE);
    wk_source_stop(source);
    wk_source_unref(source);
    wk_engine_free(now.engine);
    wk_ledger_unref(now.ledger);
    memset(&now, 0, sizeof now);
}

static void
test_published_anew_from_inside(void **state)
{
    WkSource *source = begin(state);

    assert_int_equal(now.deepest, 2);
    end(source);
}

/* What hangs in a connection that was given up may never come back: nothing waits for it, or the
 * guest's next stop and progress would not come either. */
static void
test_lost_calls_are_not_waited_for(void **state)
{
    WkSource *source = begin(state);
    WkGuest *guest = wk_engine_find(now.engine, GUEST);

    assert_non_null(guest);
    assert_null(guest->task);
    guest->task = wk_task_new(now.engine, GUEST, "test", NULL, WK_AIM_RECOVER);
    guest->task->breaking = TRUE;
    guest->task->tick_pending = TRUE;
    wk_engine_source_down(now.engine, source, "a call got stuck");
    assert_false(guest->task->breaking);
    assert_false(guest->task->tick_pending);
    wk_engine_source_up(now.engine, source);
    wk_engine_end_task(now.engine, guest, guest->task);
    end(source);
}

/* libvirt takes a description of any length; what is longer than an XML may be is not read. */
static void
make_unreadable(void)
{
    g_autofree char *text = g_strnfill(WK_DOMAIN_XML_MAX, 'x');
    g_autofree char *xml =
        g_strdup_printf("<domain type='test'><name>test</name><uuid>" GUEST "</uuid>"
                        "<description>%s</description><memory>8192</memory>"
                        "<os><type>hvm</type></os></domain>",
                        text);
    virConnectPtr connection = virConnectOpen("test:///default");
    virDomainPtr domain = virDomainLookupByUUIDString(connection, GUEST);

    assert_int_equal(virDomainDestroy(domain), 0);
    virDomainFree(domain);
    domain = virDomainDefineXML(connection, xml);
    assert_non_null(domain);
    virDomainFree(domain);
    virConnectClose(connection);
}

static gboolean
on_time_up(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

/* Nothing is wrong with the guest itself, so its recovery goes well each time. */
static void
test_failed_looks_are_paced(void **state)
{
    WkSource *source = begin(state);
    gboolean over = FALSE;

    make_unreadable();
    wk_engine_guest_touched(now.engine, source, GUEST);
    while (!wk_engine_is_idle(now.engine))
        g_main_context_iteration(NULL, TRUE);
    now.settled = 0;
    g_timeout_add(PACE_MS, on_time_up, &over);
    while (!over)
        g_main_context_iteration(NULL, TRUE);
    assert_in_range(now.settled, 0, 4);
    assert_true(wk_engine_has_settled(now.engine)); /* readiness does not wait for it */
    end(source);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_published_anew_from_inside, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_lost_calls_are_not_waited_for, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_failed_looks_are_paced, fixture_setup,
                                        fixture_teardown),
    };

    wk_source_init_events();
    return cmocka_run_group_tests_name("agent-engine", tests, NULL, NULL);
}
