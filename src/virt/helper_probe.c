/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_serve.h"

#ifdef WK_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define GIB ((gsize)1 << 30)

static gboolean
try_open(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static gboolean
try_create(void)
{
    return open("/tmp/wukong-helper-probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0;
}

static gboolean
try_connect(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0
           || socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

/* Also with a descriptor that is there already. */
static gboolean
try_reconnect(void)
{
    const struct sockaddr_un nobody = { .sun_family = AF_UNSPEC };

    return connect(STDIN_FILENO, (const struct sockaddr *)&nobody, sizeof nobody) == 0;
}

static gboolean
try_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0
           || ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static gboolean
try_execve(void)
{
    char *const none[] = { NULL };

    return execve("/bin/true", none, none) == 0;
}

static gboolean
try_fork(void)
{
    const pid_t pid = fork();

    if (pid == 0)
        _exit(EXIT_SUCCESS);
    return pid > 0 || syscall(SYS_vfork) >= 0;
}

static gboolean
try_kill(void)
{
    return kill(getppid(), 0) == 0 || kill(getpid(), 0) == 0;
}

/* Touched, so that it is not only promised. */
static gboolean
try_memory(void)
{
    char *volatile memory = malloc(GIB);

    if (memory != NULL)
        memset(memory, 1, GIB);
    free(memory);
    return memory != NULL;
}

static gboolean
try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
           != MAP_FAILED;
}

static gboolean
try_root(void)
{
    return setresuid(0, 0, 0) == 0 || getuid() == 0 || geteuid() == 0;
}

static const struct {
    const char *name;
    gboolean (*attempt)(void);
} attempts[] = {
    { "open", try_open },           { "create", try_create }, { "connect", try_connect },
    { "reconnect", try_reconnect }, { "ptrace", try_ptrace }, { "execve", try_execve },
    { "fork", try_fork },           { "kill", try_kill },     { "memory", try_memory },
    { "code", try_code },           { "root", try_root },
};

const char *
wk_helper_probe(const char *what)
{
    for (gsize i = 0; i < G_N_ELEMENTS(attempts); i++) {
        if (g_str_equal(what, attempts[i].name))
            return attempts[i].attempt() ? "done" : "refused";
    }
    return "?";
}

#endif
