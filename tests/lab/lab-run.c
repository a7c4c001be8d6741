/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab-run [--keep] [--no-logs] [--scratch DIR] PROG ARGS...
 *
 * Runs PROG as on a node of its own: own mounts, processes, network (only lo), IPC and host name.
 * /run, /etc and what libvirt and the agent keep under /var are private. Killing lab-run kills
 * everything in it; its exit status is PROG's, or 128 + the signal that ended it, or 124 when PROG
 * was content although the agent crashed. When PROG fails, the ends of all logs are printed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab-scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_SECONDS 10 /* from a passed-on SIGTERM to SIGKILL */
#define EXIT_LAB      125
#define EXIT_CRASH    124 /* PROG was content, but the agent had crashed */
#define EXIT_SKIP     77  /* automake's: no failure */
#define EXITS_FILE    "/var/lib/lab/exits"

static const char *const run_folders[] = { "/run/lock", "/run/lab", "/run/libvirt", "/run/wukong" };

static int
fail(const char *what)
{
    fprintf(stderr, "lab-run: %s: %s\n", what, strerror(errno));
    return EXIT_LAB;
}

static bool
bind_over(const LabScratch *scratch, const char *name, const char *target)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", scratch->path, name);
    return mount(path, target, NULL, MS_BIND | MS_REC, NULL) == 0;
}

/* /etc stays as it is below; what is written goes to memory. */
static bool
private_etc(void)
{
    /* /run is ours already and still empty: a place for overlay's two folders */
    return mkdir("/run/.etc", 0700) == 0 && mount("etc", "/run/.etc", "tmpfs", 0, "mode=700") == 0
           && mkdir("/run/.etc/upper", 0755) == 0 && mkdir("/run/.etc/work", 0700) == 0
           && mount("etc", "/etc", "overlay", 0,
                    "lowerdir=/etc,upperdir=/run/.etc/upper,workdir=/run/.etc/work")
                  == 0
           && umount2("/run/.etc", MNT_DETACH) == 0 && rmdir("/run/.etc") == 0;
}

static bool
empty_folder(const char *path)
{
    return (mkdir(path, 0755) == 0 || errno == EEXIST)
           && mount("lab", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") == 0;
}

/* One mount over /var/lib, not several: link(2) between libvirt's save folder and the vault works
 * only inside one mount. */
static bool
build_node(const LabScratch *scratch)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0
        || mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0 || !private_etc()
        || !empty_folder("/etc/libvirt") || !empty_folder("/etc/wukong"))
        return false;
    for (size_t i = 0; i < sizeof run_folders / sizeof *run_folders; i++)
        if (mkdir(run_folders[i], 0755) != 0)
            return false;
    return bind_over(scratch, "cache", "/var/cache") && bind_over(scratch, "log", "/var/log")
           && bind_over(scratch, "lib", "/var/lib");
}

static bool
loopback_up(void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static int
exit_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* PROG's offspring ends as a child of PID 1: how it ended can be read from this file. */
static void
note_exit(pid_t pid, int status)
{
    char line[64];
    int fd = open(EXITS_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int n = snprintf(line, sizeof line, "%d %d\n", (int)pid, exit_status(status));

    if (fd < 0)
        return;
    if (write(fd, line, (size_t)n) != n)
        fprintf(stderr, "lab-run: %s: %s\n", EXITS_FILE, strerror(errno));
    close(fd);
}

/* Called before @pid is reaped. No test wants the agent to end like that, and one that starts it
 * anew before it looks would not notice. */
static bool
has_crashed(pid_t pid, int signal)
{
    char path[32];
    char name[32] = "";
    FILE *file;

    if (signal != SIGSEGV && signal != SIGBUS && signal != SIGABRT && signal != SIGILL
        && signal != SIGFPE)
        return false;
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(name, sizeof name, file) == NULL)
        name[0] = '\0';
    fclose(file);
    name[strcspn(name, "\n")] = '\0';
    if (strcmp(name, "wukongd") != 0)
        return false;
    fprintf(stderr, "lab-run: wukongd (%d) crashed: %s\n", (int)pid, strsignal(signal));
    return true;
}

static void
start_prog(char **argv)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "lab-run: %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Returns: whether there was anybody. @crashed is set, never cleared. */
static bool
reap_next(pid_t *pid, int *status, bool *crashed)
{
    siginfo_t info = { .si_pid = 0 };

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return false;
    if (info.si_code != CLD_EXITED && has_crashed(info.si_pid, info.si_status))
        *crashed = true;
    *pid = waitpid(info.si_pid, status, WNOHANG);
    return *pid > 0;
}

/* PID 1: reaps everything, passes SIGTERM and SIGHUP on to PROG, ends with it. */
static int
run_init(char **argv, const sigset_t *signals)
{
    bool crashed = false;
    pid_t prog = fork();
    siginfo_t info;

    if (prog < 0)
        return fail("fork");
    if (prog == 0)
        start_prog(argv);
    for (;;) {
        int signal = sigwaitinfo(signals, &info);
        int status;
        pid_t pid;

        if (signal == SIGTERM || signal == SIGHUP)
            kill(prog, signal);
        while (reap_next(&pid, &status, &crashed)) {
            if (pid == prog)
                return crashed && exit_status(status) == 0 ? EXIT_CRASH : exit_status(status);
            note_exit(pid, status);
        }
    }
}

static int
enter_node(const LabScratch *scratch, int started, char **argv, const sigset_t *signals)
{
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* the other end is gone if our parent died before prctl() */
    if (read(started, &go, 1) != 1)
        return EXIT_LAB;
    close(started);
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) != 0)
        return fail("unshare");
    if (!build_node(scratch))
        return fail("mounts of the node");
    if (!loopback_up())
        return fail("lo");
    if (sethostname("lab-node", strlen("lab-node")) != 0)
        return fail("host name");
    setenv("WK_LAB_SCRATCH", scratch->path, 1);
    return run_init(argv, signals);
}

/* Outside: waits for PID 1 of the node. SIGINT from a terminal reaches PROG by itself. */
static int
wait_node(pid_t init, const sigset_t *signals)
{
    struct timespec grace = { GRACE_SECONDS, 0 };
    bool ending = false;
    int status;

    while (waitpid(init, &status, WNOHANG) == 0) {
        int signal = sigtimedwait(signals, NULL, ending ? &grace : NULL);

        if (signal < 0 && errno == EAGAIN)
            kill(init, SIGKILL);
        if (signal == SIGTERM || signal == SIGHUP) {
            kill(init, signal);
            ending = true;
        }
    }
    return exit_status(status);
}

static int
run_node(const LabScratch *scratch, char **argv)
{
    sigset_t signals;
    int pipe_fds[2];
    pid_t init;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (pipe2(pipe_fds, O_CLOEXEC) != 0 || unshare(CLONE_NEWPID) != 0)
        return fail("unshare");
    init = fork();
    if (init < 0)
        return fail("fork");
    if (init == 0) {
        close(pipe_fds[1]);
        _exit(enter_node(scratch, pipe_fds[0], argv, &signals));
    }
    if (write(pipe_fds[1], "", 1) != 1)
        kill(init, SIGKILL);
    return wait_node(init, &signals);
}

int
main(int argc, char **argv)
{
    LabScratch scratch = { .lock_fd = -1 };
    const char *base = NULL;
    bool keep = getenv("WK_LAB_KEEP") != NULL;
    bool logs = true;
    int first = 1;
    int status;

    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
        if (strcmp(argv[first], "--keep") == 0)
            keep = true;
        else if (strcmp(argv[first], "--no-logs") == 0)
            logs = false;
        else if (strcmp(argv[first], "--scratch") == 0 && first + 1 < argc)
            base = argv[++first];
        else
            break;
    }
    if (first >= argc || argv[first][0] == '-') {
        fprintf(stderr, "usage: lab-run [--keep] [--no-logs] [--scratch DIR] PROG ARGS...\n");
        return 2;
    }
    if (geteuid() != 0) {
        fprintf(stderr, "lab-run: needs root (namespaces)\n");
        return EXIT_LAB;
    }
    if (!lab_scratch_make(&scratch, base, keep))
        return EXIT_LAB;
    status = run_node(&scratch, argv + first);
    if (logs && status != 0 && status != EXIT_SKIP)
        lab_scratch_show_logs(&scratch);
    lab_scratch_drop(&scratch);
    return status;
}
