/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/json.h"
#include "kube/vmi.h"

#include <stdint.h>
#include <string.h>

/*
 * libFuzzer: any JSON object as each of KubeVirt's objects, a pod and a claim: ./dev fuzz vmi.
 *
 * What is taken is within its bounds, names that get into paths above all; every table has an
 * answer for it; a copy is the same; and a refusal can be shown.
 */

#define OBJECT_MAX    (64 * 1024)
#define NAME_LIMIT    253
#define TEXT_LIMIT    2200 /* two bounded texts and a word between */
#define MESSAGE_LIMIT 4096
#define HASH_LENGTH   64
#define DEVICES_MAX   (6 * WK_VMI_LIST_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_name(const char *name)
{
    g_assert(name != NULL && *name != '\0' && strlen(name) <= NAME_LIMIT);
    g_assert(strchr(name, '/') == NULL && *name != '.');
    for (const char *c = name; *c != '\0'; c++)
        g_assert(g_ascii_isgraph(*c));
}

static void
check_text(const char *text)
{
    g_assert(text == NULL || (strlen(text) <= TEXT_LIMIT && g_utf8_validate(text, -1, NULL)));
}

static void
check_error(const GError *error, WkErrorCode code)
{
    g_assert(g_error_matches(error, WK_ERROR, (int)code));
    g_assert(g_utf8_validate(error->message, -1, NULL));
    g_assert(strlen(error->message) < MESSAGE_LIMIT);
    g_assert(code != WK_ERROR_REFUSED || wk_error_get_reason(error) != NULL);
}

static void
check_volumes(GPtrArray *volumes)
{
    g_assert(volumes->len <= WK_VMI_LIST_MAX + 1);
    for (guint i = 0; i < volumes->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(volumes, i);

        g_assert(volume->kind < WK_VOLUME_KINDS && volume->name != NULL);
        check_text(volume->name);
        if (volume->claim != NULL)
            check_name(volume->claim);
    }
}

static void
check_vmi(const WkVmi *vmi)
{
    WkPower power = WK_POWER_ABSENT;
    const gboolean told = wk_vmi_power(vmi, &power);

    check_name(vmi->ns);
    check_name(vmi->name);
    check_name(vmi->uid);
    g_assert(told == (vmi->phase != WK_PHASE_UNKNOWN));
    g_assert(vmi->has_lock == (vmi->lock_index >= 0));
    g_assert(vmi->lock_index < (int)vmi->finalizers);
    g_assert(vmi->runtime_uid >= -1 && vmi->runtime_uid < G_MAXUINT32);
    g_assert(vmi->pod_uids->len <= WK_VMI_LIST_MAX && vmi->devices->len <= DEVICES_MAX);
    for (guint i = 0; i < vmi->pod_uids->len; i++)
        check_name(g_ptr_array_index(vmi->pod_uids, i));
    for (guint i = 0; i < vmi->devices->len; i++)
        check_text(((const WkVmiDevice *)g_ptr_array_index(vmi->devices, i))->name);
    check_volumes(vmi->volumes);
    check_text(vmi->migrating);
    check_text(vmi->evacuating);
    check_text(vmi->not_migratable);
    check_text(vmi->not_migratable_why);
    check_text(vmi->storage_why);
    check_text(vmi->unfixed_mac);
}

static void
check_vm(const WkVm *vm)
{
    check_name(vm->uid);
    g_assert(wk_run_strategy_row(vm->strategy) != NULL);
    g_assert(strlen(vm->template_hash) == HASH_LENGTH);
    check_volumes(vm->volumes);
    check_text(vm->printable_status);
    check_text(vm->snapshot);
    check_text(vm->restore);
}

/* What forbids a suspend to memory forbids one to disk as well. */
static void
check_prechecks(const WkVmi *vmi, const WkVm *vm)
{
    g_autoptr(GError) to_disk = NULL;
    g_autoptr(GError) to_memory = NULL;
    g_autofree char *caveat = wk_vmi_caveat(vmi);

    check_text(caveat);
    if (!wk_precheck_vmi(vmi, vm, WK_TARGET_DISK, &to_disk))
        check_error(to_disk, WK_ERROR_REFUSED);
    if (!wk_precheck_vmi(vmi, vm, WK_TARGET_MEMORY, &to_memory)) {
        check_error(to_memory, WK_ERROR_REFUSED);
        g_assert(to_disk != NULL);
    }
}

static void
check_pod(JsonObject *object, const WkVmi *vmi)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkVmiPod) pod = wk_vmi_pod_parse(object, NULL);
    g_autoptr(WkClaim) claim = wk_claim_parse(object, NULL);

    check_name(pod->uid);
    check_name(claim->uid);
    g_assert(pod->storage_limit_bytes >= -1);
    if (!wk_precheck_pod(vmi, pod, vmi->memory_kib, &error))
        check_error(error, WK_ERROR_REFUSED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(JsonObject) object =
        wk_json_parse((const char *)data, (gssize)size, OBJECT_MAX, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(WkVmi) vmi = NULL;
    g_autoptr(WkVmi) vmi_copy = NULL;
    g_autoptr(WkVm) vm = NULL;
    g_autoptr(WkVm) vm_copy = NULL;

    if (object == NULL)
        return 0;
    vmi = wk_vmi_parse(object, &error);
    vm = wk_vm_parse(object, NULL);
    g_assert((vmi == NULL) == (vm == NULL));
    if (vmi == NULL) {
        check_error(error, WK_ERROR_INVALID);
        return 0;
    }
    vmi_copy = wk_vmi_copy(vmi);
    vm_copy = wk_vm_copy(vm);
    check_vmi(vmi_copy);
    check_vm(vm_copy);
    check_prechecks(vmi_copy, NULL);
    g_free(vmi_copy->vm_uid);
    vmi_copy->vm_uid = g_strdup(vm->uid); /* so that its VM counts */
    check_prechecks(vmi_copy, vm_copy);
    check_pod(object, vmi);
    return 0;
}
