/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kubevirt-fixture.h"

void
ask_result_clear(AskResult *result)
{
    if (result->object != NULL)
        result->verb->destroy(result->object);
    result->object = NULL;
    g_clear_error(&result->error);
}

void
ask_on_done(GObject *source G_GNUC_UNUSED, GAsyncResult *res, gpointer data)
{
    AskResult *result = data;

    assert_false(result->done);
    if (result->verb->object != NULL) {
        result->object = result->verb->object(NULL, res, &result->error);
        result->fine = result->object != NULL;
    } else {
        result->fine = wk_kubevirt_done_finish(NULL, res, &result->error);
    }
    assert_int_equal(result->fine, result->error == NULL);
    result->done = TRUE;
}

WkVmi *
ask_make_vmi(void)
{
    WkVmi *vmi = wk_vmi_new();

    vmi->ns = g_strdup("shop");
    vmi->name = g_strdup("web-vm");
    vmi->uid = g_strdup("u-1");
    vmi->resource_version = g_strdup("47");
    vmi->finalizers = 1;
    return vmi;
}

static void
ask_lock(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done, gpointer data)
{
    g_autoptr(WkVmi) vmi = ask_make_vmi();

    wk_kubevirt_lock(kube, vmi, cancellable, done, data);
}

#define ASK(name, call)                                                                            \
    static void ask_##name(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done,      \
                           gpointer data)                                                          \
    {                                                                                              \
        call;                                                                                      \
    }
ASK(pause, wk_kubevirt_pause(kube, "shop", "web-vm", cancellable, done, data))
ASK(unpause, wk_kubevirt_unpause(kube, "shop", "web-vm", cancellable, done, data))
ASK(start, wk_kubevirt_start(kube, "shop", "web-vm", cancellable, done, data))
ASK(unlock, wk_kubevirt_unlock(kube, "shop", "web-vm", "u-1", cancellable, done, data))
ASK(autostart,
    wk_kubevirt_set_autostart(kube, "shop", "web", "w-1", FALSE, cancellable, done, data))
ASK(mark, wk_kubevirt_mark_suspended(kube, "shop", "web-vm", "u-2", TRUE, cancellable, done, data))
ASK(unmark,
    wk_kubevirt_mark_suspended(kube, "shop", "web-vm", "u-2", FALSE, cancellable, done, data))
ASK(vmi, wk_kubevirt_get_fresh_vmi(kube, "shop", "web-vm", cancellable, done, data))
ASK(vm, wk_kubevirt_get_fresh_vm(kube, "shop", "web-vm", cancellable, done, data))
ASK(pods, wk_kubevirt_list_pods(kube, "shop", "u-1", TRUE, cancellable, done, data))
ASK(known_pods, wk_kubevirt_list_pods(kube, "shop", "u-1", FALSE, cancellable, done, data))
ASK(claim, wk_kubevirt_get_claim(kube, "shop", "web-root", cancellable, done, data))
ASK(get_pin, wk_kubevirt_get_pin(kube, "shop", "web", cancellable, done, data))
ASK(unpin, wk_kubevirt_unpin(kube, "shop", "web", "w-1", "node-1", cancellable, done, data))

static void
ask_pin(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done, gpointer data)
{
    const WkPin pin = { .wukong = (char *)"web",
                        .uid = (char *)"w-1",
                        .resource_version = (char *)"47" };

    wk_kubevirt_pin(kube, "shop", &pin, "node-1", cancellable, done, data);
}

#define OBJECT(name, ask_finish, free)                                                             \
    static gpointer finish_##name(WkKube *kube, GAsyncResult *result, GError **error)              \
    {                                                                                              \
        return ask_finish(kube, result, error);                                                    \
    }                                                                                              \
    static void free_##name(gpointer data)                                                         \
    {                                                                                              \
        free(data);                                                                                \
    }
OBJECT(lock, wk_kubevirt_lock_finish, wk_vmi_free)
OBJECT(vmi, wk_kubevirt_get_fresh_vmi_finish, wk_vmi_free)
OBJECT(vm, wk_kubevirt_get_fresh_vm_finish, wk_vm_free)
OBJECT(pods, wk_kubevirt_list_pods_finish, g_ptr_array_unref)
OBJECT(claim, wk_kubevirt_get_claim_finish, wk_claim_free)
OBJECT(get_pin, wk_kubevirt_get_pin_finish, wk_pin_free)

const AskVerb ask_verbs[] = {
    [PAUSE] = { "pause", ask_pause, NULL, NULL, "PUT",
                SUB_PATH "virtualmachineinstances/web-vm/pause", JSON, "{}", "" },
    [UNPAUSE] = { "unpause", ask_unpause, NULL, NULL, "PUT",
                  SUB_PATH "virtualmachineinstances/web-vm/unpause", JSON, "{}", "" },
    [START] = { "start", ask_start, NULL, NULL, "PUT", SUB_PATH "virtualmachines/web-vm/start",
                JSON, "{}", "" },
    [LOCK_IT] = { "lock", ask_lock, finish_lock, free_lock, "PATCH", VMI_PATH, JSON_PATCH,
                  "[" TEST_UID ",{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":"
                  "\"47\"},{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"" LOCK
                  "\"}]",
                  VMI_OF("u-1", LOCKED) },
    [AUTOSTART] = { "autostart", ask_autostart, NULL, NULL, "PATCH", WK_PATH, MERGE,
                    "{\"metadata\":{\"uid\":\"w-1\"},\"spec\":{\"startStrategy\":{\"autoStart\":"
                    "false}}}",
                    "{\"spec\":{\"startStrategy\":{\"autoStart\":false}}}" },
    [MARK] = { "mark", ask_mark, NULL, NULL, "PATCH", VM_PATH, MERGE,
               "{\"metadata\":{\"uid\":\"u-2\",\"annotations\":{\"wukong.novasphere.dev/suspended\""
               ":\"true\"}}}",
               "{}" },
    [UNMARK] = { "unmark", ask_unmark, NULL, NULL, "PATCH", VM_PATH, MERGE,
                 "{\"metadata\":{\"uid\":\"u-2\",\"annotations\":{\"wukong.novasphere.dev/"
                 "suspended\":null}}}",
                 "{}" },
    [GET_VMI] = { "get VMI", ask_vmi, finish_vmi, free_vmi, "GET", VMI_PATH, NULL, "",
                  VMI_OF("u-1", "") },
    [GET_VM] = { "get VM", ask_vm, finish_vm, free_vm, "GET", VM_PATH, NULL, "",
                 VMI_OF("u-2", "") },
    [PODS] = { "pods", ask_pods, finish_pods, free_pods, "GET", POD_PATH, NULL, "",
               "{\"items\":[" VMI_OF("p-1", "") "]}" },
    [KNOWN_PODS] = { "known pods", ask_known_pods, finish_pods, free_pods, "GET",
                     POD_PATH "&resourceVersion=0", NULL, "",
                     "{\"items\":[" VMI_OF("p-1", "") "]}" },
    [CLAIM] = { "claim", ask_claim, finish_claim, free_claim, "GET", PVC_PATH, NULL, "",
                VMI_OF("c-1", "") },
    [GET_PIN] = { "get pin", ask_get_pin, finish_get_pin, free_get_pin, "GET", WK_PATH, NULL, "",
                  VMI_OF("w-1", "") },
    [PIN] = { "pin", ask_pin, NULL, NULL, "PATCH", WK_PATH, MERGE,
              "{\"metadata\":{\"uid\":\"w-1\",\"resourceVersion\":\"47\"},\"spec\":{"
              "\"startStrategy\":{\"autoStart\":true},\"highAvailability\":{" SELECTOR "}}}",
              PINNED },
    [UNPIN] = { "unpin", ask_unpin, NULL, NULL, "PATCH", WK_PATH, JSON_PATCH,
                "[{\"op\":\"test\",\"path\":\"/metadata/uid\",\"value\":\"w-1\"},{\"op\":"
                "\"test\",\"path\":\"/spec/highAvailability/nodeSelector/kubernetes.io~1hostname\","
                "\"value\":\"node-1\"},{\"op\":\"remove\",\"path\":\"/spec/highAvailability/"
                "nodeSelector/kubernetes.io~1hostname\"}]",
                "{}" },
    [UNLOCK] = { "unlock", ask_unlock, NULL, NULL, "GET", VMI_PATH, NULL, "", "" },
};

void
ask_begin(KubeFixture *self, AskResult *result, const AskVerb *verb, GCancellable *cancellable)
{
    result->verb = verb;
    verb->ask(self->kube, cancellable, ask_on_done, result);
}

FakeCall *
ask_next_call(KubeFixture *self, const char *method, const char *path)
{
    g_autofree char *prefix = g_strdup_printf("%s %s", method, path);

    return fake_apiserver_wait(self->api, prefix);
}

static gboolean
is_done(gpointer data)
{
    return ((AskResult *)data)->done;
}

void
ask_finish(AskResult *result)
{
    fake_wait_until(is_done, result, result->verb->label);
}

void
ask_assert_failed(const AskResult *result, WkErrorCode code, const char *reason)
{
    if (result->error == NULL)
        fail_msg("%s: fine, '%s' was expected", result->verb->label, reason);
    if (!g_error_matches(result->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(result->error), reason) != 0)
        fail_msg("%s: code %d '%s' was expected, got %d '%s': %s", result->verb->label, (int)code,
                 reason, result->error->code, wk_error_get_reason(result->error),
                 result->error->message);
}
