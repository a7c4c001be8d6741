/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One Wukong, a reporter, a server played by the test: what the reporter's tests share. */
#include "kube/reporter_private.h"

#include "kube-double.h"
#include "unit.h"
#include "wukong-store.h"

/* 10 s are 100 ms, 2 s are 20, 5 min are 3 s. */
#define SPEED      100
#define WUKONGS    "PATCH /apis/vm.novasphere.dev/v1alpha1/namespaces/ns1/wukongs/"
#define STATUS     "/status?fieldManager=wukongd"
#define META       "vm-1?fieldManager=wukongd"
#define SUSPEND    "{\"action\":\"suspend\",\"target\":\"disk\"}"
#define RESUME     "{\"action\":\"resume\"}"
#define RUNNING    "{\"state\":\"Running\"}"
#define SUSPENDING "{\"state\":\"Suspending\"}"
#define SUSPENDED  "{\"reason\":\"SavedToDisk\",\"state\":\"Suspended\"}"

/* Where disorder is played through, a slow machine must not run into the time-outs of the order. */
#define SPEED_OF_ECHOES 10

static guint speed = SPEED;

typedef struct {
    WkReporter *reporter;
    StoreWukong *wukong;
    GPtrArray *many; /* (element-type StoreWukong) */
    GString *told;
    gboolean drained;
} Fixture;

static inline void
on_notice(const char *reason, const char *text, gpointer data)
{
    Fixture *f = data;

    g_string_append_printf(f->told, "%s%s ", text == NULL ? "-" : "", reason);
}

static inline void
on_removed(const char *uid, const char *owed, gpointer data)
{
    Fixture *f = data;

    g_string_append_printf(f->told, "removed:%s:%s ", uid,
                           g_str_equal(owed, SUSPEND) ? "suspend" : "other");
}

static inline int
setup(void **state)
{
    static const WkReporterOptions options = { .node_name = "n1", .namespace_name = "sys" };
    static const WkReporterListener listener = { .notice = on_notice, .removed = on_removed };
    Fixture *f = g_new0(Fixture, 1);

    f->told = g_string_new(NULL);
    f->reporter = wk_reporter_new_fast(NULL, &options, &listener, f, speed);
    f->wukong = store_wukong_new("vm-1", "u1", SUSPEND);
    f->many = g_ptr_array_new_with_free_func((GDestroyNotify)store_wukong_free);
    *state = f;
    return 0;
}

static inline int
teardown(void **state)
{
    Fixture *f = *state;

    wk_reporter_free(f->reporter);
    double_reset();
    store_wukong_free(f->wukong);
    g_ptr_array_unref(f->many);
    g_string_free(f->told, TRUE);
    g_free(f);
    return 0;
}

/* --- what the test does ----------------------------------------------------------------------- */

static inline WkStatus *
make_status(const char *uid, const char *text)
{
    WkStatus *status = g_new0(WkStatus, 1);

    status->uid = g_strdup(uid);
    status->state = g_strdup(text);
    status->compared = g_strdup(strstr(text, "progress") != NULL ? SUSPENDING : text);
    status->conditions[WK_CONDITION_SUSPENDED].status = "True";
    status->conditions[WK_CONDITION_SUSPENDED].reason = g_strdup("Reason");
    status->conditions[WK_CONDITION_SUSPENDED].message = g_strdup("m");
    return status;
}

static inline void
want(Fixture *f, const char *text, const char *owed, gboolean urgent)
{
    wk_reporter_want(f->reporter, "ns1", "vm-1", make_status(f->wukong->uid, text), owed, -1,
                     urgent);
}

/* The watch tells of version @index; -1: the newest. */
static inline void
see(Fixture *f, int index)
{
    guint i = index >= 0 ? (guint)index : f->wukong->versions->len - 1;
    g_autoptr(WkWukong) seen = store_wukong_see(f->wukong, i);

    wk_reporter_saw(f->reporter, seen);
}

/* The server does what @call asks and answers. */
static inline void
serve_of(StoreWukong *wukong, DoubleCall *call)
{
    gboolean is_status = strstr(call->line, STATUS) != NULL;

    assert_string_equal(call->type,
                        is_status ? "application/apply-patch+yaml" : "application/json-patch+json");
    if (store_wukong_patch(wukong, is_status, call->body))
        double_answer(call, store_wukong_get(wukong));
    else if (is_status)
        double_fail(call, WK_ERROR_CONFLICT, "Conflict",
                    "Operation cannot be fulfilled on wukongs.vm.novasphere.dev \"vm-1\": the "
                    "object has been modified; please apply your changes to the latest version");
    else
        double_fail(call, WK_ERROR_INVALID, "Invalid",
                    "the server rejected our request due to an error in our request");
}

static inline void
serve(Fixture *f, const char *fragment)
{
    serve_of(f->wukong, double_wait(fragment));
    double_settle();
}

/* Somebody else's doing. */
static inline void
set_action(Fixture *f, const char *action)
{
    g_free(f->wukong->action);
    f->wukong->action = g_strdup(action);
    f->wukong->generation++;
    store_wukong_commit(f->wukong);
}

static inline void
drop_fields(Fixture *f)
{
    g_clear_pointer(&f->wukong->state, g_free);
    g_clear_pointer(&f->wukong->conditions, g_free);
    store_wukong_commit(f->wukong);
}

static inline guint
count_writes(void)
{
    return double_count(WUKONGS);
}

/* Suspended, shown and seen, nothing under way; the versions so far are the base. */
static inline void
make_suspended(Fixture *f)
{
    see(f, -1);
    want(f, SUSPENDED, SUSPEND, TRUE);
    serve(f, STATUS);
    serve(f, META);
    see(f, -1);
    double_settle();
    assert_string_equal(f->told->str, "removed:u1:suspend ");
    g_string_truncate(f->told, 0);
    assert_int_equal(wk_reporter_count_pending(f->reporter), 0);
    assert_int_equal(count_writes(), 2);
}
