/* SPDX-License-Identifier: Apache-2.0 */
/* lab-box FILE PROGRAM [ARGUMENT...]: runs PROGRAM with no new privileges, and with no system calls
 * but those that FILE names, one a line; any other fails with EPERM, as under systemd. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Names that this machine does not have are no calls of it. Returns: 0 or an errno. */
static int
allow_all_of(scmp_filter_ctx filter, FILE *file)
{
    char line[128];

    while (fgets(line, sizeof line, file) != NULL) {
        int number;
        int answer;

        line[strcspn(line, "\n")] = '\0';
        number = seccomp_syscall_resolve_name(line);
        answer = number >= 0 ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0) : 0;
        if (answer != 0)
            return -answer;
    }
    return 0;
}

static int
close_box(const char *path)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    FILE *file = fopen(path, "re");
    int errnum = file != NULL && filter != NULL ? allow_all_of(filter, file) : ENOENT;

    if (file != NULL)
        (void)fclose(file);
    if (errnum == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        errnum = errno;
    return errnum != 0 ? errnum : -seccomp_load(filter);
}

int
main(int argc, char **argv)
{
    int errnum;

    if (argc < 3) {
        fprintf(stderr, "usage: lab-box FILE PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    errnum = close_box(argv[1]);
    if (errnum != 0) {
        fprintf(stderr, "lab-box: %s: %s\n", argv[1], strerror(errnum));
        return 1;
    }
    (void)execv(argv[2], argv + 2);
    fprintf(stderr, "lab-box: %s: %s\n", argv[2], strerror(errno));
    return 1;
}
