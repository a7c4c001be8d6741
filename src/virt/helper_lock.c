/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_lock.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY       65534
#define MEMORY_BYTES (512UL * 1024 * 1024)
#define FILES_MAX    16

/* Never needed, not even to connect. */
static const int never[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(reboot),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
};

/* All that is needed once connected: reading, writing and waiting on what is open, memory, time,
 * locks, and ending. */
static const int enough[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(eventfd2),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(futex),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

static gboolean
fail(GError **error, int errnum, const char *what)
{
    wk_error_set_errno(error, errnum, "confining the launcher's helper: %s", what);
    return FALSE;
}

static gboolean
drop_capabilities(GError **error)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

    return syscall(SYS_capset, &header, none) == 0 || fail(error, errno, "its capabilities");
}

/* User 0 is kept for a while, without capabilities: enough to be taken for root by a socket. Nobody
 * as the saved one makes giving it up need none. (As the real one libvirt would not have it: a
 * process whose real and effective users differ is a setuid program to it.) */
static gboolean
take_ids(uid_t user, gid_t group, GError **error)
{
    const uid_t saved = user != 0 ? user : NOBODY;
    const gid_t own = user != 0 ? group : NOBODY;

    if (geteuid() != 0)
        return (user == geteuid() && user == getuid()) || fail(error, EPERM, "its user");
    if (own == 0)
        return fail(error, EINVAL, "its group");
    if (setgroups(1, &own) != 0 || setresgid(own, own, own) != 0)
        return fail(error, errno, "its group");
    return setresuid(user, user, saved) == 0 || fail(error, errno, "its user");
}

/* Returns: 0 or an errno. */
static int
forbid_never(scmp_filter_ctx filter)
{
    int answer = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(never) && answer == 0; i++)
        answer = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), never[i], 0);
    /* Threads may be made, by the call whose flags a filter can read. */
    if (answer == 0)
        answer = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (answer == 0)
        answer = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return -answer;
}

static int
allow_enough(scmp_filter_ctx filter)
{
    static const int mappings[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };
    static const int flags[] = { F_GETFL, F_SETFL, F_GETFD };
    int answer = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(enough) && answer == 0; i++)
        answer = seccomp_rule_add(filter, SCMP_ACT_ALLOW, enough[i], 0);
    for (gsize i = 0; i < G_N_ELEMENTS(mappings) && answer == 0; i++)
        answer = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mappings[i], 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    for (gsize i = 0; i < G_N_ELEMENTS(flags) && answer == 0; i++)
        answer = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                                  SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)flags[i], 0));
    return -answer;
}

/* A sanitizer's runtime makes calls of its own; such builds are for tests. */
#ifdef __SANITIZE_ADDRESS__
#define OTHER_CALLS SCMP_ACT_LOG
#else
#define OTHER_CALLS SCMP_ACT_ERRNO(EPERM)
#endif

static gboolean
load_filter(guint32 otherwise, int (*fill)(scmp_filter_ctx filter), GError **error)
{
    scmp_filter_ctx filter = seccomp_init(otherwise);
    int errnum;

    if (filter == NULL)
        return fail(error, ENOMEM, "its system calls");
    errnum = -seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (errnum == 0)
        errnum = fill(filter);
    if (errnum == 0)
        errnum = -seccomp_load(filter);
    seccomp_release(filter);
    return errnum == 0 || fail(error, errnum, "its system calls");
}

gboolean
wk_helper_become(uid_t user, gid_t group, GError **error)
{
    if (!take_ids(user, group, error) || !drop_capabilities(error))
        return FALSE;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return fail(error, errno, "its privileges");
    return load_filter(SCMP_ACT_ALLOW, forbid_never, error);
}

gboolean
wk_helper_drop_root(GError **error)
{
    uid_t real, effective, saved;

    if (getresuid(&real, &effective, &saved) != 0 || setresuid(saved, saved, saved) != 0
        || geteuid() == 0)
        return fail(error, errno, "its user");
    /* Forgotten at each change of user. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 || fail(error, errno, "its parent");
}

gboolean
wk_helper_lock(GError **error)
{
    static const struct {
        int resource;
        rlim_t most;
    } limits[] = {
#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is terabytes */
        { RLIMIT_AS, MEMORY_BYTES },
#endif
        { RLIMIT_NPROC, 0 },         { RLIMIT_NOFILE, FILES_MAX }, { RLIMIT_CORE, 0 },
        { RLIMIT_FSIZE, 0 },         { RLIMIT_MEMLOCK, 0 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        const struct rlimit limit = { limits[i].most, limits[i].most };

        if (setrlimit((__rlimit_resource_t)limits[i].resource, &limit) != 0)
            return fail(error, errno, "its limits");
    }
    return load_filter(OTHER_CALLS, allow_enough, error);
}
