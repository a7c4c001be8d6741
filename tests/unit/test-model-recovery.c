/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/recovery.h"

/*
 * The recovery table against its text: every combination of ledger state, domain and facts is put
 * to the table and to by_text(), which says the same in another way (nested ifs, in the words of
 * docs/ledger.md). Then: each row is reached, and on a host every road ends.
 */
static const char *const ids[] = { "G1", "G2", "N1", "N2", "N3", "S1", "S2", "S3", "K1", "K1b",
                                   "K2", "K3", "K4", "K5", "K6", "P1", "Q1", "Q2", "Q3" };

#define COMBINATIONS ((gsize)WK_LEDGER_STATES * WK_DOMAIN_CLASSES << WK_FACT_BITS)

static WkObservation
combination(gsize number)
{
    const gsize rest = number >> WK_FACT_BITS;

    return (WkObservation){ .state = (WkLedgerState)(rest / WK_DOMAIN_CLASSES),
                            .domain = (WkDomainClass)(rest % WK_DOMAIN_CLASSES),
                            .facts = (guint)(number & ((1u << WK_FACT_BITS) - 1)) };
}

/* An observation in the words of the text. */
typedef struct {
    WkLedgerState ledger;
    gboolean inactive, ours3, active; /* active: otherwise */
    gboolean launcher, new_pod, vmi_final, lock;
    gboolean m_there, m_guard, m_ours, m_final;
    gboolean h_there, h_is_m;
    gboolean c_good, w_same, b, cancel, guard_synced, stray;
} Words;

static Words
in_words(const WkObservation *seen)
{
#define IS(fact) ((seen->facts & WK_FACT_##fact) != 0)
    return (Words){ .ledger = seen->state,
                    .inactive = seen->domain == WK_DOMAIN_INACTIVE,
                    .ours3 = seen->domain == WK_DOMAIN_OURS3,
                    .active = seen->domain == WK_DOMAIN_ACTIVE,
                    .launcher = IS(LAUNCHER),
                    .new_pod = IS(LAUNCHER) && IS(POD_NEW),
                    .vmi_final = IS(LAUNCHER) && IS(VMI_FINAL),
                    .lock = IS(LAUNCHER) && IS(LOCK),
                    .m_there = IS(M_PRESENT),
                    .m_guard = IS(M_GUARD),
                    .m_ours = IS(M_OURS),
                    .m_final = IS(FINAL_OUR_OP),
                    .h_there = IS(H_PRESENT),
                    .h_is_m = IS(H_IS_M),
                    .c_good = IS(C_GOOD),
                    .w_same = IS(W_SAME),
                    .b = IS(BOOT_SAME),
                    .cancel = IS(WANT_CANCEL),
                    .guard_synced = IS(GUARD_SYNCED),
                    .stray = IS(STRAY) };
#undef IS
}

typedef struct {
    const char *id;
    WkRecoverAction action;
} Verdict;

static Verdict
none_by_text(const Words *w)
{
    if (!w->inactive && w->m_there)
        return (Verdict){ "N1", WK_RECOVER_STALE };
    if (w->stray)
        return (Verdict){ "N2", WK_RECOVER_STRAY };
    return (Verdict){ "N3", WK_RECOVER_REST };
}

static Verdict
saving_by_text(const Words *w)
{
    if (!w->launcher && w->h_there && !w->h_is_m)
        return (Verdict){ "S1", WK_RECOVER_DROP_HOLD };
    if (w->inactive && w->m_final && w->w_same && w->b && (!w->launcher || w->lock))
        return (Verdict){ "S2", WK_RECOVER_SEAL };
    return (Verdict){ "S3", WK_RECOVER_ABORT };
}

/* K3: what makes an image that is not loaded one that must not be loaded. */
static gboolean
is_lost(const Words *w)
{
    if (!w->h_there || !w->c_good || !w->w_same)
        return TRUE;
    if (w->m_there && !w->m_ours && !w->m_guard)
        return TRUE; /* foreign */
    if (w->m_there && w->m_guard && !w->launcher)
        return TRUE; /* a host has a guard only in quarantine: not our image either */
    if (w->ledger != WK_LEDGER_SEALED)
        return FALSE;
    return w->launcher ? !w->lock : !w->m_there;
}

static Verdict
restoring_by_text(const Words *w)
{
    if (!w->launcher && !w->m_there)
        return (Verdict){ "K4", WK_RECOVER_RELINK };
    if (w->cancel)
        return (Verdict){ "K5", WK_RECOVER_CANCEL_SEALED };
    if (!w->launcher || w->new_pod || (w->vmi_final && w->lock))
        return (Verdict){ "K5", WK_RECOVER_START };
    return (Verdict){ "K5", WK_RECOVER_WAIT };
}

static Verdict
held_by_text(const Words *w)
{
    if (w->ours3 && w->b)
        return (Verdict){ "K1", w->cancel ? WK_RECOVER_CANCEL_DESTROY : WK_RECOVER_VERIFY };
    if (w->ours3)
        return (Verdict){ "K1b", WK_RECOVER_REBOOT_DESTROY };
    if (w->active)
        return (Verdict){ "K2", WK_RECOVER_OUTSIDE };
    if (is_lost(w))
        return (Verdict){ "K3", WK_RECOVER_QUARANTINE };
    if (w->ledger == WK_LEDGER_RESTORING)
        return restoring_by_text(w);
    return (Verdict){ "K6", w->launcher && w->m_ours ? WK_RECOVER_REMOVE_M : WK_RECOVER_REST };
}

static Verdict
quarantined_by_text(const Words *w)
{
    if (w->ours3)
        return (Verdict){ "Q1", WK_RECOVER_QUARANTINE_DESTROY };
    if (w->m_ours || (w->inactive && !w->m_there) || !w->guard_synced)
        return (Verdict){ "Q2", WK_RECOVER_GUARD };
    return (Verdict){ "Q3", WK_RECOVER_REST };
}

static Verdict
by_text(const Words *w)
{
    if (w->new_pod && !w->m_there && w->ledger != WK_LEDGER_NONE && w->ledger != WK_LEDGER_SPENT)
        return (Verdict){ "G1", WK_RECOVER_GUARD_NEW_POD };
    if (w->vmi_final && w->m_guard)
        return (Verdict){ "G2", WK_RECOVER_UNLINK_GUARD };
    switch (w->ledger) {
    case WK_LEDGER_NONE:
        return none_by_text(w);
    case WK_LEDGER_SAVING:
        return saving_by_text(w);
    case WK_LEDGER_SEALED:
    case WK_LEDGER_RESTORING:
        return held_by_text(w);
    case WK_LEDGER_SPENT:
        return (Verdict){ "P1", WK_RECOVER_FINISH_SPENT };
    case WK_LEDGER_QUARANTINED:
    default:
        return quarantined_by_text(w);
    }
}

static void
test_every_combination(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < COMBINATIONS; i++) {
        const WkObservation seen = combination(i);
        const Words words = in_words(&seen);
        const WkRecoveryRow *row = wk_recovery_decide(&seen);
        const Verdict text = by_text(&words);

        if (row->action != text.action || !g_str_equal(row->id, text.id))
            fail_msg("ledger %s, domain %d, facts %#x: the table says %s/%d, the text %s/%d",
                     wk_ledger_state_name(seen.state), (int)seen.domain, seen.facts, row->id,
                     (int)row->action, text.id, (int)text.action);
    }
}

/* Facts that can hold together; the others are only there to show that the table is total. */
static gboolean
is_possible(const WkObservation *seen)
{
    const guint of_launcher = WK_FACT_POD_NEW | WK_FACT_VMI_FINAL | WK_FACT_LOCK;
    const guint of_m = WK_FACT_M_GUARD | WK_FACT_M_OURS | WK_FACT_H_IS_M;
    const Words w = in_words(seen);

    if (!w.launcher && (seen->facts & of_launcher) != 0)
        return FALSE;
    if (!w.m_there && (seen->facts & of_m) != 0)
        return FALSE;
    if (w.m_guard && (w.m_ours || w.h_is_m || (w.m_final && !w.launcher)))
        return FALSE;
    if (w.m_final && !(w.launcher ? w.h_there : w.m_there))
        return FALSE;
    if (!w.h_there && (w.h_is_m || w.c_good))
        return FALSE;
    if (w.ledger == WK_LEDGER_NONE && (w.ours3 || w.m_ours || w.c_good || w.lock || w.cancel))
        return FALSE;
    if (w.new_pod && (w.vmi_final || !w.inactive))
        return FALSE;
    return !w.stray || w.ledger == WK_LEDGER_NONE;
}

static void
test_each_row_is_reached(void **state G_GNUC_UNUSED)
{
    g_autofree gboolean *reached = NULL;
    const WkRecoveryRow *rows;
    gsize n_rows;

    rows = wk_recovery_table(&n_rows);
    reached = g_new0(gboolean, n_rows);
    for (gsize i = 0; i < COMBINATIONS; i++) {
        const WkObservation seen = combination(i);

        if (is_possible(&seen))
            reached[wk_recovery_decide(&seen) - rows] = TRUE;
    }
    for (gsize i = 0; i < n_rows; i++) {
        if (!reached[i])
            fail_msg("row %zu (%s) stands behind others that leave it nothing", i, rows[i].id);
    }
}

/* The ids in the table's order, each once: a row of the text may stand there several times. */
static void
test_ids_of_the_table(void **state G_GNUC_UNUSED)
{
    const WkRecoveryRow *rows;
    gsize n_rows, n = 0;

    rows = wk_recovery_table(&n_rows);
    for (gsize i = 0; i < n_rows; i++) {
        if (i > 0 && g_str_equal(rows[i].id, rows[i - 1].id))
            continue;
        assert_true(n < G_N_ELEMENTS(ids));
        assert_string_equal(rows[i].id, ids[n++]);
    }
    assert_int_equal(n, G_N_ELEMENTS(ids));
}

static void
test_ids_of_the_document(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) rows = unit_read_table("docs/ledger.md", "The recovery table");

    assert_int_equal(rows->len, G_N_ELEMENTS(ids));
    for (guint i = 0; i < rows->len; i++)
        assert_string_equal(((char **)g_ptr_array_index(rows, i))[0], ids[i]);
}

#define M_FACTS                                                                                    \
    ((guint)(WK_FACT_M_PRESENT | WK_FACT_M_GUARD | WK_FACT_M_OURS | WK_FACT_H_IS_M                 \
             | WK_FACT_FINAL_OUR_OP))
#define H_FACTS ((guint)(WK_FACT_H_PRESENT | WK_FACT_H_IS_M | WK_FACT_C_GOOD))
#define LINKED                                                                                     \
    ((guint)(WK_FACT_M_PRESENT | WK_FACT_M_OURS | WK_FACT_H_PRESENT | WK_FACT_H_IS_M               \
             | WK_FACT_C_GOOD))

/* Quarantine's last step. */
static void
place_guard(WkObservation *now)
{
    const gboolean off = now->domain == WK_DOMAIN_INACTIVE;
    const gboolean ours = (now->facts & WK_FACT_M_OURS) != 0;

    now->facts |= WK_FACT_GUARD_SYNCED;
    if (!ours && !(off && (now->facts & WK_FACT_M_PRESENT) == 0))
        return;
    now->facts &= ~M_FACTS;
    if (off)
        now->facts |= WK_FACT_M_PRESENT | WK_FACT_M_GUARD;
}

static void
forget(WkObservation *now)
{
    now->state = WK_LEDGER_NONE;
    now->facts &= ~(M_FACTS | H_FACTS | WK_FACT_WANT_CANCEL | WK_FACT_STRAY);
    if (now->domain == WK_DOMAIN_OURS3)
        now->domain = WK_DOMAIN_ACTIVE;
}

/* Restore 3: good ones go on, the others are destroyed and held. */
static void
verify(WkObservation *now)
{
    const guint good = WK_FACT_H_PRESENT | WK_FACT_C_GOOD | WK_FACT_W_SAME;

    if ((now->facts & good) == good) {
        now->state = WK_LEDGER_SPENT;
        return;
    }
    now->domain = WK_DOMAIN_INACTIVE;
    now->state = WK_LEDGER_QUARANTINED;
    place_guard(now);
}

/* What a row's action leaves behind on a host when nothing goes wrong. */
static void
act(WkObservation *now, WkRecoverAction action)
{
    switch (action) {
    case WK_RECOVER_STALE:
        now->facts &= ~M_FACTS;
        return;
    case WK_RECOVER_STRAY:
        now->facts &= ~(guint)WK_FACT_STRAY;
        return;
    case WK_RECOVER_DROP_HOLD:
        now->facts &= ~H_FACTS;
        return;
    case WK_RECOVER_SEAL:
        now->state = WK_LEDGER_SEALED;
        now->facts |= LINKED;
        return;
    case WK_RECOVER_VERIFY:
        verify(now);
        return;
    case WK_RECOVER_REBOOT_DESTROY:
        now->state = WK_LEDGER_RESTORING;
        now->domain = WK_DOMAIN_INACTIVE;
        return;
    case WK_RECOVER_CANCEL_DESTROY:
    case WK_RECOVER_QUARANTINE_DESTROY:
        now->domain = WK_DOMAIN_INACTIVE;
        return;
    case WK_RECOVER_OUTSIDE:
        now->state = WK_LEDGER_SPENT;
        return;
    case WK_RECOVER_QUARANTINE:
        now->state = WK_LEDGER_QUARANTINED;
        place_guard(now);
        return;
    case WK_RECOVER_GUARD:
        place_guard(now);
        return;
    case WK_RECOVER_RELINK:
        now->facts |= LINKED;
        return;
    case WK_RECOVER_CANCEL_SEALED:
        now->state = WK_LEDGER_SEALED;
        now->facts &= ~(guint)WK_FACT_WANT_CANCEL;
        return;
    case WK_RECOVER_START: /* libvirt removes the managed name */
        now->domain = WK_DOMAIN_OURS3;
        now->facts = (now->facts & ~M_FACTS) | WK_FACT_BOOT_SAME;
        return;
    case WK_RECOVER_ABORT:
    case WK_RECOVER_FINISH_SPENT:
        forget(now);
        return;
    case WK_RECOVER_GUARD_NEW_POD:
    case WK_RECOVER_UNLINK_GUARD:
    case WK_RECOVER_REMOVE_M:
    case WK_RECOVER_WAIT:
    case WK_RECOVER_REST:
    default:
        fail_msg("action %d on a host", (int)action);
    }
}

#define ROWS_MAX 6

static void
test_every_road_ends_on_a_host(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < COMBINATIONS; i++) {
        WkObservation now = combination(i);
        guint rows = 0;

        if ((now.facts & WK_FACT_LAUNCHER) != 0 || !is_possible(&now))
            continue;
        for (; wk_recovery_decide(&now)->action != WK_RECOVER_REST; rows++) {
            if (rows == ROWS_MAX)
                fail_msg("combination %zu goes round in circles at %s", i,
                         wk_recovery_decide(&now)->id);
            act(&now, wk_recovery_decide(&now)->action);
        }
        assert_true(now.domain != WK_DOMAIN_OURS3 || now.state == WK_LEDGER_NONE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_each_row_is_reached),
        cmocka_unit_test(test_ids_of_the_table),
        cmocka_unit_test(test_ids_of_the_document),
        cmocka_unit_test(test_every_road_ends_on_a_host),
    };

    return cmocka_run_group_tests_name("model-recovery", tests, NULL, NULL);
}
