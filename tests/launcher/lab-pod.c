/* SPDX-License-Identifier: Apache-2.0 */
/* VMs, VMIs and their pods. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab-pod.h"

#include "lab-api.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define QEMU_ID    107
#define DISK_BYTES (16 * 1024 * 1024)

char *
lab_vm_domain(const char *name)
{
    return g_strdup_printf("default_%s-vm", name);
}

/* ---- objects ---- */

/* The claim's folder on the node, which the guest's usual folder points to. */
static gboolean
make_claim(const char *name, GError **error)
{
    g_autofree char *domain = lab_vm_domain(name);
    g_autofree char *folder = g_strdup_printf(LAB_DIR "/guests/default.%s-root", name);
    g_autofree char *link = g_build_filename(LAB_DIR "/guests", domain, NULL);
    g_autofree char *disk = g_build_filename(folder, "disk.img", NULL);
    g_autofree char *log = g_build_filename(folder, "serial.log", NULL);
    gboolean ok;
    int fd;

    unlink(link);
    ok = g_mkdir_with_parents(folder, 0755) == 0 && chown(folder, QEMU_ID, QEMU_ID) == 0
         && symlink(folder, link) == 0 && g_file_set_contents(log, "", 0, error)
         && chown(log, QEMU_ID, QEMU_ID) == 0;
    fd = ok ? open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0660) : -1;
    ok = fd >= 0 && ftruncate(fd, DISK_BYTES) == 0 && fchown(fd, QEMU_ID, QEMU_ID) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok && error != NULL && *error == NULL)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s can't be made", folder);
    return ok;
}

static gboolean
apply_claim(const char *name, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("apiVersion: v1\nkind: PersistentVolumeClaim\n"
                        "metadata: {name: %s-root, namespace: default}\n"
                        "spec: {accessModes: [ReadWriteOnce], volumeName: pv-%s, "
                        "resources: {requests: {storage: 16Mi}}}\n",
                        name, name);
    g_autofree char *out = NULL;
    g_autofree char *claim = g_strdup_printf("pvc/%s-root", name);

    if (!lab_kube_apply(text, error))
        return FALSE;
    out = lab_kubectl_out(error, "patch", claim, "--subresource=status", "--type=merge", "-p",
                          "{\"status\":{\"phase\":\"Bound\",\"accessModes\":[\"ReadWriteOnce\"],"
                          "\"capacity\":{\"storage\":\"16Mi\"}}}",
                          NULL);
    return out != NULL;
}

static gboolean
apply_wukong(const char *name, GError **error)
{
    g_autofree char *patch = g_strdup_printf("{\"status\":{\"vmName\":\"%s-vm\"}}", name);
    g_autofree char *out = NULL;

    if (!lab_kube_wukong(name, error))
        return FALSE;
    out = lab_kubectl_out(error, "patch", "wk", name, "--subresource=status", "--type=merge", "-p",
                          patch, NULL);
    return out != NULL;
}

static gboolean
apply_vm(const char *name, const LabVmOptions *options, GError **error)
{
    g_autofree char *owner = lab_kube_get(name, "{.metadata.uid}", error);
    g_autofree char *strategy = options->run_strategy != NULL
                                    ? g_strdup_printf("runStrategy: %s", options->run_strategy)
                                    : g_strdup("running: true");
    g_autofree char *text = NULL;

    if (owner == NULL)
        return FALSE;
    text = g_strdup_printf(
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\n"
        "metadata:\n  name: %s-vm\n  namespace: default\n  ownerReferences:\n"
        "  - {apiVersion: vm.novasphere.dev/v1alpha1, kind: Wukong, name: %s, uid: %s, "
        "controller: true}\n"
        "spec:\n  %s\n  template:\n    metadata: {labels: {kubevirt.io/vm: %s-vm}%s}\n"
        "    spec: {domain: {cpu: {cores: 1}, memory: {guest: %uMi}, resources: {}, devices: "
        "{disks: [{name: root, disk: {bus: virtio}}]%s}}, "
        "volumes: [{name: root, persistentVolumeClaim: {claimName: %s-root}}], "
        "terminationGracePeriodSeconds: 5%s%s}\n",
        name, name, owner, strategy, name,
        options->root ? ", annotations: {standin/root: yes-please}" : "",
        options->memory_mib != 0 ? options->memory_mib : LAB_GUEST_MIB,
        options->persistent_tpm ? ", tpm: {persistent: true}" : "", name,
        options->spec != NULL ? ", " : "", options->spec != NULL ? options->spec : "");
    return lab_kube_apply(text, error);
}

/* Under Manual nothing starts by itself. */
static gboolean
request_start(const char *name, const LabVmOptions *options, GError **error)
{
    g_auto(LabOutput) output = { 0 };

    if (g_strcmp0(options->run_strategy, "Manual") != 0)
        return TRUE;
    if (!lab_vm_subresource(name, "start", &output, error))
        return FALSE;
    if (output.status != 0)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "start: %s", output.err);
    return output.status == 0;
}

gboolean
lab_vm_start(const char *name, const LabVmOptions *options, GError **error)
{
    LabVmOptions none = { 0 };
    g_autofree char *domain = lab_vm_domain(name);

    if (options == NULL)
        options = &none;
    if (!make_claim(name, error) || !apply_claim(name, error) || !apply_wukong(name, error)
        || !apply_vm(name, options, error) || !request_start(name, options, error))
        return FALSE;
    return options->no_wait
           || (lab_vmi_wait_phase(name, "Running", LAB_POD_MS, error)
               && lab_guest_wait_ticking(domain, LAB_POD_MS, error));
}

/* Nobody protects claims here, and nobody takes that protection off. */
static gboolean
delete_claim(const char *name, GError **error)
{
    g_autofree char *claim = g_strdup_printf("pvc/%s-root", name);
    g_autofree char *gone = NULL;

    g_free(lab_kubectl_out(NULL, "patch", claim, "--type=merge", "-p",
                           "{\"metadata\":{\"finalizers\":null}}", NULL));
    gone = lab_kubectl_out(error, "delete", "--ignore-not-found", claim, NULL);
    return gone != NULL;
}

gboolean
lab_claim_replace(const char *name, GError **error)
{
    return delete_claim(name, error) && apply_claim(name, error);
}

gboolean
lab_vm_delete(const char *name, GError **error)
{
    g_autofree char *uid = lab_pod_uid(name, NULL);
    g_autofree char *vm = g_strdup_printf("vm/%s-vm", name);
    g_autofree char *vmi = g_strdup_printf("vmi/%s-vm", name);
    g_autofree char *wukong = g_strdup_printf("wk/%s", name);
    g_autofree char *gone = lab_kubectl_out(error, "delete", "--ignore-not-found", "--timeout=50s",
                                            vm, vmi, wukong, NULL);

    return gone != NULL && delete_claim(name, error)
           && (uid == NULL || lab_pod_wait_gone(uid, LAB_WAIT_MS, error));
}

static char *
get(const char *plural, const char *name, const char *jsonpath, GError **error)
{
    g_autofree char *path =
        g_strdup_printf("/apis/kubevirt.io/v1/namespaces/default/%s/%s-vm", plural, name);

    return lab_api_pick(path, jsonpath, TRUE, error);
}

static gboolean
patch(const char *kind, const char *name, const char *text, GError **error)
{
    g_autofree char *object = g_strdup_printf("%s/%s-vm", kind, name);
    g_autofree char *out =
        lab_kubectl_out(error, "patch", object, "--type=merge", "-p", text, NULL);

    return out != NULL;
}

char *
lab_vm_get(const char *name, const char *jsonpath, GError **error)
{
    return get("virtualmachines", name, jsonpath, error);
}

gboolean
lab_vm_patch(const char *name, const char *merge_patch, GError **error)
{
    return patch("vm", name, merge_patch, error);
}

char *
lab_vmi_get(const char *name, const char *jsonpath, GError **error)
{
    return get("virtualmachineinstances", name, jsonpath, error);
}

char *
lab_vmi_uid(const char *name, GError **error)
{
    return lab_vmi_get(name, "{.metadata.uid}", error);
}

gboolean
lab_vmi_patch(const char *name, const char *merge_patch, GError **error)
{
    return patch("vmi", name, merge_patch, error);
}

gboolean
lab_vmi_delete(const char *name, GError **error)
{
    g_autofree char *vmi = g_strdup_printf("vmi/%s-vm", name);
    g_autofree char *out = lab_kubectl_out(error, "delete", "--wait=false", vmi, NULL);

    return out != NULL;
}

#define DROP_TRIES 20

/* The list as it was read, without @finalizer; KubeVirt changes it at the same time. */
static gboolean
drop_once(const char *name, const char *finalizer, GError **error)
{
    g_autofree char *text =
        lab_vmi_get(name, "{.metadata.resourceVersion} {.metadata.finalizers[*]}", error);
    g_auto(GStrv) words = text != NULL ? g_strsplit(g_strstrip(text), " ", -1) : NULL;
    g_autoptr(GString) merge = g_string_new(NULL);
    const char *comma = "";

    if (text == NULL || g_strv_length(words) < 2)
        return text != NULL;
    g_string_append_printf(merge, "{\"metadata\":{\"resourceVersion\":\"%s\",\"finalizers\":[",
                           words[0]);
    for (gsize i = 1; words[i] != NULL; i++) {
        if (g_str_equal(words[i], finalizer))
            continue;
        g_string_append_printf(merge, "%s\"%s\"", comma, words[i]);
        comma = ",";
    }
    g_string_append(merge, "]}}");
    return lab_vmi_patch(name, merge->str, error);
}

gboolean
lab_vmi_drop_finalizer(const char *name, const char *finalizer, GError **error)
{
    for (guint i = 1; i < DROP_TRIES; i++) {
        if (drop_once(name, finalizer, NULL))
            return TRUE;
    }
    return drop_once(name, finalizer, error);
}

typedef struct {
    const char *name;
    const char *jsonpath;
    const char *value;
    char *seen;
    gboolean other;
} VmiWait;

static gboolean
is_so(gpointer data)
{
    VmiWait *wait = data;
    gboolean same;

    g_free(wait->seen);
    wait->seen = lab_vmi_get(wait->name, wait->jsonpath, NULL);
    same = g_strcmp0(wait->seen, wait->value) == 0;
    return wait->other ? wait->seen != NULL && *wait->seen != '\0' && !same : same;
}

gboolean
lab_vmi_wait(const char *name, const char *jsonpath, const char *value, guint timeout_ms,
             GError **error)
{
    VmiWait wait = { .name = name, .jsonpath = jsonpath, .value = value };
    gboolean ok = lab_wait("a VMI", timeout_ms, is_so, &wait, NULL);
    g_autofree char *seen = wait.seen;

    if (!ok)
        g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT,
                    "waited %u ms for %s=%s of VMI %s-vm, it is %s", timeout_ms, jsonpath, value,
                    name, seen);
    return ok;
}

gboolean
lab_vmi_wait_phase(const char *name, const char *phase, guint timeout_ms, GError **error)
{
    return lab_vmi_wait(name, "{.status.phase}", phase, timeout_ms, error);
}

char *
lab_vmi_wait_other(const char *name, const char *uid, guint timeout_ms, GError **error)
{
    VmiWait wait = { .name = name, .jsonpath = "{.metadata.uid}", .value = uid, .other = TRUE };
    gboolean ok = lab_wait("another VMI", timeout_ms, is_so, &wait, error);
    g_autofree char *seen = wait.seen;

    return ok ? g_steal_pointer(&seen) : NULL;
}

gboolean
lab_vm_subresource(const char *name, const char *verb, LabOutput *output, GError **error)
{
    gboolean of_vmi = g_str_has_suffix(verb, "pause");
    g_autofree char *path =
        g_strdup_printf("/apis/subresources.kubevirt.io/v1/namespaces/default/%s/%s-vm/%s",
                        of_vmi ? "virtualmachineinstances" : "virtualmachines", name, verb);

    return g_file_set_contents(LAB_STANDIN_DIR "/empty.json", "{}", -1, error)
           && lab_kubectl(output, error, "replace", "--raw", path, "-f",
                          LAB_STANDIN_DIR "/empty.json", NULL);
}

/* ---- pods ---- */

char *
lab_pod_uid(const char *name, GError **error)
{
    g_autofree char *pods = lab_vmi_get(name, "{.status.activePods}", error);
    g_auto(GStrv) words = pods != NULL ? g_strsplit(pods, "\"", 3) : NULL;

    if (words != NULL && g_strv_length(words) == 3)
        return g_strdup(words[1]);
    if (pods != NULL)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "VMI %s-vm has no pod", name);
    return NULL;
}

char *
lab_pod_dir(const char *uid)
{
    return g_build_filename(LAB_KUBELET_DIR "/pods", uid, NULL);
}

char *
lab_pod_volume(const char *uid, const char *emptydir)
{
    return g_build_filename(LAB_KUBELET_DIR "/pods", uid, "volumes/kubernetes.io~empty-dir",
                            emptydir, NULL);
}

char *
lab_pod_save_path(const char *name, GError **error)
{
    g_autofree char *uid = lab_pod_uid(name, error);
    g_autofree char *own = uid != NULL ? lab_pod_volume(uid, "private-libvirt-qemu") : NULL;
    g_autofree char *private = uid != NULL ? lab_pod_volume(uid, "private") : NULL;
    g_autofree char *user = lab_vmi_get(name, "{.status.runtimeUser}", error);

    if (uid == NULL || user == NULL)
        return NULL;
    if (g_str_equal(user, "0"))
        return g_strdup_printf("/proc/%d/root" LAB_SAVE_DIR "/default_%s-vm.save",
                               (int)lab_pod_launcher_pid(uid), name);
    if (g_file_test(own, G_FILE_TEST_IS_DIR))
        return g_strdup_printf("%s/save/default_%s-vm.save", own, name);
    return g_strdup_printf("%s/libvirt/qemu/save/default_%s-vm.save", private, name);
}

char *
lab_pod_log(const char *name, const char *uid)
{
    g_autofree char *log = g_strdup_printf("pod-%s-vm-%.5s", name, uid);

    return lab_log(log);
}

static int
connect_launcher(const char *folder)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int at = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = at >= 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;

    g_snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/launcher-sock", at);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    if (at >= 0)
        close(at);
    return fd;
}

GPid
lab_pod_launcher_pid(const char *uid)
{
    g_autofree char *folder = lab_pod_volume(uid, "sockets");
    struct ucred peer = { 0 };
    socklen_t length = sizeof peer;
    int fd = connect_launcher(folder);

    if (fd < 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        peer.pid = 0;
    close(fd);
    return peer.pid;
}

gboolean
lab_pod_virsh(const char *name, LabOutput *output, GError **error, ...)
{
    g_autofree char *uid = lab_pod_uid(name, error);
    GPid pid = uid != NULL ? lab_pod_launcher_pid(uid) : 0;
    g_autofree char *user = lab_vmi_get(name, "{.status.runtimeUser}", error);
    g_autofree char *uri =
        g_strdup_printf("qemu+unix:///%s?socket=/proc/%d/root/run/libvirt/"
                        "virtqemud-sock",
                        g_strcmp0(user, "0") == 0 ? "system" : "session", (int)pid);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *word;
    va_list words;

    if (uid == NULL || user == NULL)
        return FALSE;
    g_ptr_array_add(argv, (char *)"virsh");
    g_ptr_array_add(argv, (char *)"-q");
    g_ptr_array_add(argv, (char *)"-c");
    g_ptr_array_add(argv, uri);
    va_start(words, error);
    while ((word = va_arg(words, const char *)) != NULL)
        g_ptr_array_add(argv, (char *)word);
    va_end(words);
    g_ptr_array_add(argv, NULL);
    return lab_run_capture((const char *const *)argv->pdata, NULL, LAB_POD_MS, output, error);
}

char *
lab_pod_domstate(const char *name, GError **error)
{
    g_autofree char *domain = lab_vm_domain(name);
    g_auto(LabOutput) output = { 0 };

    if (!lab_pod_virsh(name, &output, error, "domstate", "--reason", domain, NULL))
        return NULL;
    return g_strdup(g_strstrip(output.status == 0 ? output.out : output.err));
}

static gboolean
is_of_pod(const char *pid, const char *namespace, const char *program)
{
    g_autofree char *ns_link = g_strdup_printf("/proc/%s/ns/pid", pid);
    g_autofree char *ns = g_file_read_link(ns_link, NULL);
    g_autofree char *exe_link = g_strdup_printf("/proc/%s/exe", pid);
    g_autofree char *exe = g_file_read_link(exe_link, NULL);

    return g_strcmp0(ns, namespace) == 0 && exe != NULL && g_str_has_suffix(exe, program);
}

guint
lab_pod_kill(const char *uid, const char *program, int signal)
{
    g_autofree char *link = g_strdup_printf("/proc/%d/ns/pid", (int)lab_pod_launcher_pid(uid));
    g_autofree char *namespace = g_file_read_link(link, NULL);
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    guint n = 0;

    while (namespace != NULL && dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (g_ascii_isdigit(*name) && is_of_pod(name, namespace, program)
            && kill((pid_t)g_ascii_strtoll(name, NULL, 10), signal) == 0)
            n++;
    return n;
}

/* (transfer full) */
static char *
pod_name(const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf(
        "/api/v1/namespaces/default/pods?labelSelector=vm.kubevirt.io/name=%s-vm", name);

    return lab_api_pick(path, "{.items[0].metadata.name}", FALSE, error);
}

gboolean
lab_pod_evict(const char *name, GError **error)
{
    g_autofree char *pod = pod_name(name, error);
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    g_autofree char *out = NULL;

    if (pod == NULL)
        return FALSE;
    path = g_strdup_printf("/api/v1/namespaces/default/pods/%s/eviction", pod);
    text = g_strdup_printf("{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":"
                           "{\"name\":\"%s\",\"namespace\":\"default\"}}",
                           pod);
    if (!g_file_set_contents(LAB_STANDIN_DIR "/eviction.json", text, -1, error))
        return FALSE;
    out = lab_kubectl_out(error, "create", "--raw", path, "-f", LAB_STANDIN_DIR "/eviction.json",
                          NULL);
    return out != NULL;
}

gboolean
lab_pod_evict_now(const char *name, GError **error)
{
    g_autofree char *pod = pod_name(name, error);
    g_autofree char *out =
        pod != NULL ? lab_kubectl_out(error, "annotate", "pod", pod, "standin/evict=yes", NULL)
                    : NULL;

    return out != NULL;
}

static gboolean
is_gone(gpointer data)
{
    return !g_file_test(data, G_FILE_TEST_EXISTS);
}

gboolean
lab_pod_wait_gone(const char *uid, guint timeout_ms, GError **error)
{
    g_autofree char *folder = lab_pod_dir(uid);

    return lab_wait("the end of a pod's folders", timeout_ms, is_gone, folder, error);
}
