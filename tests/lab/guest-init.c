/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /init of the test guest: one static program, the whole user space.
 *
 * Console (ttyS0): every 100 ms one line
 *     nonce=<32 hex> tick=<n> filled=<MiB> wrote=<n>
 * The nonce lives only in this program's memory: the same nonce after a resume proves that the
 * same RAM goes on. A (nonce, tick) pair that is printed twice proves that RAM ran twice.
 *
 * Commands (ttyS1), one a line: "<seq> <word> [argument]", answered "<seq> ok|error <text>":
 *     nonce        draw a new nonce (several guests start from one saved image)
 *     fill MIB     dirty that much more RAM with bytes that do not compress
 *     write        from now on write a counter to the start of /dev/vda at each tick
 *     read         what is written there
 *     poweroff
 * The ACPI power button powers off too. Kernel parameter fill_mib=N: as "fill N" at boot.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS         100000000LL
#define MIB             (1024 * 1024)
#define SECTOR          512
#define MAX_BUTTONS     4
#define FILL_PER_ROUND  4 /* MiB between two looks at the clock and the commands */
#define LONGEST_COMMAND 128

static char nonce[33];
static unsigned long tick;
static unsigned long filled; /* MiB */
static unsigned long to_fill;
static unsigned long wrote;
static bool writing;
static int console_fd = -1;
static int command_fd = -1;
static int disk_fd = -1;
static char *sector; /* aligned for O_DIRECT */

static void
draw_nonce(void)
{
    char uuid[37] = "";
    int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
    size_t used = 0;

    if (fd < 0 || read(fd, uuid, sizeof uuid - 1) < 36)
        strcpy(uuid, "no-nonce");
    if (fd >= 0)
        close(fd);
    for (const char *c = uuid; *c != '\0' && used < sizeof nonce - 1; c++)
        if (*c != '-' && *c != '\n')
            nonce[used++] = *c;
    nonce[used] = '\0';
}

static int
open_serial(const char *path)
{
    struct termios raw;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd >= 0 && tcgetattr(fd, &raw) == 0) {
        cfmakeraw(&raw);
        cfsetspeed(&raw, B115200);
        raw.c_cflag |= CLOCAL | CREAD;
        tcsetattr(fd, TCSANOW, &raw);
    }
    return fd;
}

static void
put_line(int fd, const char *line, int length)
{
    while (length > 0) {
        ssize_t n = write(fd, line, (size_t)length);

        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            line += n;
            length -= (int)n;
        }
    }
}

static void
load_module(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (syscall(SYS_finit_module, fd, "", 0) != 0)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    close(fd);
}

/* The initramfs has the modules in the order of loading: /modules/00-virtio.ko, ... */
static void
load_modules(void)
{
    struct dirent **names = NULL;
    int n = scandir("/modules", &names, NULL, alphasort);
    char path[300];

    for (int i = 0; i < n; i++) {
        if (strstr(names[i]->d_name, ".ko") != NULL) {
            snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
            load_module(path);
        }
        free(names[i]);
    }
    free(names);
}

static unsigned long
kernel_parameter(const char *name)
{
    char line[2048] = "";
    char *found;
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    if (read(fd, line, sizeof line - 1) < 0)
        line[0] = '\0';
    close(fd);
    found = strstr(line, name);
    return found != NULL ? strtoul(found + strlen(name), NULL, 10) : 0;
}

static uint64_t
next_random(void)
{
    static uint64_t state;

    if (state == 0)
        state = strtoull(nonce + 16, NULL, 16) | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void
fill_some(void)
{
    for (int i = 0; i < FILL_PER_ROUND && to_fill > 0; i++) {
        uint64_t *block =
            mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (block == MAP_FAILED) {
            to_fill = 0;
            return;
        }
        for (size_t word = 0; word < MIB / sizeof *block; word++)
            block[word] = next_random();
        to_fill--;
        filled++;
    }
}

static bool
open_disk(void)
{
    if (disk_fd < 0)
        disk_fd = open("/dev/vda", O_RDWR | O_DIRECT | O_SYNC | O_CLOEXEC);
    if (sector == NULL && posix_memalign((void **)&sector, 4096, 4096) != 0)
        sector = NULL;
    return disk_fd >= 0 && sector != NULL;
}

static void
write_disk(void)
{
    memset(sector, 0, SECTOR);
    snprintf(sector, SECTOR, "nonce=%s counter=%lu", nonce, wrote + 1);
    if (pwrite(disk_fd, sector, SECTOR, 0) == SECTOR)
        wrote++;
    else
        fprintf(stderr, "write: %s\n", strerror(errno));
}

static void
power_off(void)
{
    sync();
    reboot(RB_POWER_OFF);
}

static void
answer_disk(char *answer, size_t size, bool start_writing)
{
    if (!open_disk()) {
        snprintf(answer, size, "error no disk: %s", strerror(errno));
    } else if (start_writing) {
        writing = true;
        write_disk();
        snprintf(answer, size, "ok counter=%lu", wrote);
    } else if (pread(disk_fd, sector, SECTOR, 0) != SECTOR) {
        snprintf(answer, size, "error read: %s", strerror(errno));
    } else {
        sector[SECTOR - 1] = '\0';
        snprintf(answer, size, "ok %.200s", sector);
    }
}

static void
run_command(const char *seq, const char *word, const char *argument)
{
    char answer[256] = "error unknown command";
    char line[320];

    if (strcmp(word, "nonce") == 0) {
        draw_nonce();
        snprintf(answer, sizeof answer, "ok %s", nonce);
    } else if (strcmp(word, "fill") == 0) {
        to_fill += strtoul(argument, NULL, 10);
        snprintf(answer, sizeof answer, "ok %lu", filled + to_fill);
    } else if (strcmp(word, "write") == 0) {
        answer_disk(answer, sizeof answer, true);
    } else if (strcmp(word, "read") == 0) {
        answer_disk(answer, sizeof answer, false);
    } else if (strcmp(word, "poweroff") == 0) {
        strcpy(answer, "ok");
    }
    put_line(command_fd, line, snprintf(line, sizeof line, "%s %s\n", seq, answer));
    if (strcmp(word, "poweroff") == 0) {
        tcdrain(command_fd);
        power_off();
    }
}

static void
take_line(char *line)
{
    char seq[32] = "";
    char word[32] = "";
    char argument[64] = "";

    if (sscanf(line, "%31s %31s %63s", seq, word, argument) >= 2)
        run_command(seq, word, argument);
}

static void
read_commands(void)
{
    static char line[LONGEST_COMMAND];
    static size_t used;
    char bytes[64];
    ssize_t n = read(command_fd, bytes, sizeof bytes);

    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            line[used] = '\0';
            used = 0;
            take_line(line);
        } else if (used < sizeof line - 1) {
            line[used++] = bytes[i];
        }
    }
}

static void
read_button(int fd)
{
    struct input_event event;

    if (read(fd, &event, sizeof event) == sizeof event && event.type == EV_KEY
        && event.code == KEY_POWER && event.value == 1)
        power_off();
}

static int
open_buttons(struct pollfd *fds)
{
    char path[32];
    int n = 0;

    for (int i = 0; i < MAX_BUTTONS; i++) {
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        fds[n].fd = open(path, O_RDONLY | O_CLOEXEC);
        fds[n].events = POLLIN;
        if (fds[n].fd >= 0)
            n++;
    }
    return n;
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void
print_tick(void)
{
    char line[160];

    tick++;
    if (writing)
        write_disk();
    put_line(console_fd, line,
             snprintf(line, sizeof line, "nonce=%s tick=%lu filled=%lu wrote=%lu\n", nonce, tick,
                      filled, wrote));
}

static void
run(struct pollfd *fds, int n_fds)
{
    int64_t next = now_ns();

    for (;;) {
        int64_t left = next - now_ns();

        if (left <= 0) {
            print_tick();
            next += TICK_NS;
            if (next < now_ns())
                next = now_ns() + TICK_NS;
            continue;
        }
        if (to_fill > 0) {
            fill_some();
            left = 0;
        }
        if (poll(fds, (nfds_t)n_fds, (int)((left + 999999) / 1000000)) <= 0)
            continue;
        if ((fds[0].revents & POLLIN) != 0)
            read_commands();
        for (int i = 1; i < n_fds; i++)
            if ((fds[i].revents & POLLIN) != 0)
                read_button(fds[i].fd);
    }
}

int
main(void)
{
    struct pollfd fds[1 + MAX_BUTTONS];

    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    console_fd = open_serial("/dev/ttyS0");
    dup2(console_fd, STDERR_FILENO);
    load_modules();
    command_fd = open_serial("/dev/ttyS1");
    draw_nonce();
    to_fill = kernel_parameter("fill_mib=");
    fds[0].fd = command_fd;
    fds[0].events = POLLIN;
    run(fds, 1 + open_buttons(fds + 1));
    return 0;
}
