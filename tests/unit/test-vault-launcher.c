/* SPDX-License-Identifier: Apache-2.0 */
/* An image that a pod shares with the vault: the way there and back, and what is refused. */
#include "config.h"

#include "launcher-fixture.h"

#include "base/files.h"
#include "vault/launcher_image.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DATA       4096
#define HEADER     (FIXTURE_FIXED + DATA)
#define BODY       5000
#define MEMORY_KIB 1024

#define NEED_ROOT()                                                                                \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            skip();                                                                                \
    } while (0)

#define OK(call)                                                                                   \
    do {                                                                                           \
        g_autoptr(GError) error_ = NULL;                                                           \
        GError **error = &error_;                                                                  \
        if (!(call))                                                                               \
            fail_msg(#call ": %s", error_ != NULL ? error_->message : "no error");                 \
    } while (0)

#define REFUSED(call, code, reason)                                                                \
    do {                                                                                           \
        GError *error_ = NULL;                                                                     \
        GError **error = &error_;                                                                  \
        assert_false(call);                                                                        \
        fixture_expect_error(&error_, code, reason);                                               \
    } while (0)

static void
expect_file(const char *path, guint owner, mode_t mode, nlink_t names)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_uid, owner);
    assert_int_equal(st.st_gid, owner);
    assert_int_equal(st.st_mode & 07777, mode);
    assert_int_equal(st.st_nlink, names);
}

static void
expect_same_inode(const char *a, const char *b)
{
    const WkFileId one = fixture_file_id(a);
    const WkFileId other = fixture_file_id(b);

    assert_true(wk_file_id_same_inode(&one, &other));
}

/* H as libvirt leaves it after a save into the pre-link. */
static WkFileId
saved(const Launcher *self)
{
    WkFileId file;

    OK(wk_launcher_image_create(self->hold, self->managed, &file, error));
    OK(wk_launcher_image_link(self->hold, self->managed, error));
    (void)launcher_write_image(self->managed, DATA, BODY);
    return fixture_file_id(self->hold);
}

static void
put_guard(const char *managed)
{
    OK(wk_guard_write(managed, error));
    OK(wk_guard_sync(managed, error));
    OK(wk_guard_rename(managed, error));
}

static WkImageKind
kind_of(const char *path)
{
    g_auto(WkImageLook) seen = { 0 };

    OK(wk_image_look(path, &seen, error));
    return seen.kind;
}

/* Save 3 to 13, then restore 2: each step, with what the file is in between. */
static void
test_there_and_back(void **state)
{
    const Launcher *self = *state;
    WkFileId created;
    WkFileId file;

    NEED_ROOT();
    OK(wk_launcher_image_create(self->hold, self->managed, &created, error));
    expect_file(self->hold, LAUNCHER_USER, 0600, 1);
    OK(wk_launcher_image_link(self->hold, self->managed, error));
    OK(wk_launcher_image_link(self->hold, self->managed, error)); /* again */
    expect_file(self->managed, LAUNCHER_USER, 0600, 2);
    (void)launcher_write_image(self->managed, DATA, BODY);
    file = fixture_file_id(self->hold);
    assert_true(wk_file_id_same_inode(&created, &file));
    for (guint i = 0; i < 2; i++)
        OK(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error));
    expect_file(self->hold, 0, 0400, 2);
    OK(wk_image_unlink(self->managed, &file, error));
    expect_file(self->hold, 0, 0400, 1);
    assert_int_equal(fixture_file_id(self->hold).mtime_ns, file.mtime_ns);

    put_guard(self->managed); /* of the next pod */
    expect_file(self->managed, LAUNCHER_USER, 0600, 1);
    OK(wk_launcher_image_give(self->hold, self->managed, &file, error));
    for (guint i = 0; i < 2; i++)
        OK(wk_launcher_image_stage(self->hold, self->managed, &file, error));
    expect_same_inode(self->hold, self->managed);
    expect_file(self->managed, LAUNCHER_USER, 0600, 2);
    assert_int_equal(kind_of(self->managed), WK_IMAGE_FINAL);
}

/* Abort: dead, then empty, by whichever name it has. */
static void
test_empty(void **state)
{
    const Launcher *self = *state;
    WkFileId file;

    NEED_ROOT();
    file = saved(self);
    OK(wk_image_kill(self->hold, &file, error));
    OK(wk_launcher_image_empty(self->managed, &file, error));
    assert_int_equal(fixture_file_id(self->hold).size_bytes, 0);
    OK(wk_image_unlink(self->managed, &file, error));
    OK(wk_launcher_image_empty(self->managed, &file, error)); /* gone: nothing to do */
    (void)launcher_write_image(self->managed, DATA, BODY);
    OK(wk_launcher_image_empty(self->managed, &file, error)); /* another: left alone */
    assert_int_equal(fixture_file_id(self->managed).size_bytes, HEADER + BODY);
}

static void
test_create_refused(void **state)
{
    const Launcher *self = *state;
    WkFileId file;

    NEED_ROOT();
    (void)saved(self);
    REFUSED(wk_launcher_image_create(self->hold, self->managed, &file, error), WK_ERROR_CONFLICT,
            NULL);
    assert_int_equal(fixture_file_id(self->hold).size_bytes, HEADER + BODY);
    assert_int_equal(g_unlink(self->hold), 0);
    fixture_remove(self->save); /* the pod went */
    REFUSED(wk_launcher_image_create(self->hold, self->managed, &file, error), WK_ERROR_NOT_FOUND,
            NULL);
    assert_false(fixture_exists(self->hold));
}

/* M is there: somebody's managed save, or a guard. */
static void
test_link_refused(void **state)
{
    const Launcher *self = *state;
    WkFileId other;
    WkFileId file;

    NEED_ROOT();
    OK(wk_launcher_image_create(self->hold, self->managed, &file, error));
    other = launcher_write_image(self->managed, DATA, 10);
    REFUSED(wk_launcher_image_link(self->hold, self->managed, error), WK_ERROR_CONFLICT, NULL);
    assert_int_equal(fixture_file_id(self->managed).inode, other.inode);
    expect_file(self->hold, LAUNCHER_USER, 0600, 1);
}

/* A mount between vault and pods, though one file system: what a person has to set is named. */
static void
test_other_mount(void **state)
{
    const Launcher *self = *state;
    GError *complaint = NULL;
    WkFileId file;

    NEED_ROOT();
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        skip();
    file = saved(self);
    OK(wk_image_unlink(self->managed, &file, error));
    assert_int_equal(mount(self->private_, self->private_, NULL, MS_BIND, NULL), 0);
    assert_false(wk_launcher_image_link(self->hold, self->managed, &complaint));
    assert_non_null(strstr(complaint->message, "vault-dir in [kubevirt]"));
    fixture_expect_error(&complaint, WK_ERROR_REFUSED, "VaultOnOtherFileSystem");
    REFUSED(wk_launcher_image_stage(self->hold, self->managed, &file, error), WK_ERROR_REFUSED,
            "VaultOnOtherFileSystem");
    assert_int_equal(umount2(self->private_, MNT_DETACH), 0);
}

/* Whoever could still change the image: by a descriptor, by a mapping. */
static void
test_claim_with_writer(void **state)
{
    const Launcher *self = *state;
    const int flags[] = { O_WRONLY, O_RDWR };
    WkFileId file;
    void *memory;
    int fd;

    NEED_ROOT();
    file = saved(self);
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        fd = open(self->managed, flags[i] | O_CLOEXEC);
        assert_true(fd >= 0);
        REFUSED(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error), WK_ERROR_UNAVAILABLE,
                "ImageInUse");
        (void)g_close(fd, NULL);
    }
    fd = open(self->managed, O_RDWR | O_CLOEXEC);
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(memory != MAP_FAILED);
    (void)g_close(fd, NULL);
    REFUSED(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error), WK_ERROR_UNAVAILABLE,
            "ImageInUse");
    assert_int_equal(munmap(memory, 4096), 0);
    fd = open(self->managed, O_RDONLY | O_CLOEXEC); /* a reader does no harm */
    OK(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error));
    (void)g_close(fd, NULL);
}

static void
test_claim_refused(void **state)
{
    const Launcher *self = *state;
    g_autofree char *third = g_strconcat(self->managed, ".mine", NULL);
    WkFileId file;

    NEED_ROOT();
    file = saved(self);
    assert_int_equal(link(self->managed, third), 0);
    REFUSED(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error), WK_ERROR_CORRUPT,
            "ImageCorrupt");
    assert_int_equal(g_unlink(third), 0);
    assert_int_equal(truncate(self->hold, FIXTURE_FIXED - 1), 0);
    REFUSED(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error), WK_ERROR_CORRUPT,
            "ImageCorrupt");
    assert_int_equal(truncate(self->hold, G_GINT64_CONSTANT(1) << 40), 0);
    REFUSED(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error), WK_ERROR_CORRUPT,
            "ImageCorrupt");
    REFUSED(wk_launcher_image_claim(self->hold, &file, 0, error), WK_ERROR_CORRUPT, "ImageCorrupt");
    OK(wk_launcher_image_claim(self->hold, &file, G_MAXUINT64 / 4096, error));
    file.inode++;
    REFUSED(wk_launcher_image_claim(self->hold, &file, MEMORY_KIB, error), WK_ERROR_CORRUPT,
            "ImageCorrupt");
    REFUSED(wk_launcher_image_give(self->hold, self->managed, &file, error), WK_ERROR_CONFLICT,
            NULL);
}

/* At M: something that is neither a guard nor ours; beside it: a draft that an agent left. */
static void
test_stage_refused(void **state)
{
    const Launcher *self = *state;
    g_autofree char *draft = g_strconcat(self->managed, ".wukong-image", NULL);
    WkFileId other;
    WkFileId file;

    NEED_ROOT();
    file = saved(self);
    OK(wk_image_unlink(self->managed, &file, error));
    other = launcher_write_image(self->managed, DATA, 10);
    REFUSED(wk_launcher_image_stage(self->hold, self->managed, &file, error), WK_ERROR_CONFLICT,
            NULL);
    assert_int_equal(fixture_file_id(self->managed).inode, other.inode);
    assert_int_equal(g_unlink(self->managed), 0);
    assert_int_equal(link(self->hold, draft), 0);
    OK(wk_launcher_image_stage(self->hold, self->managed, &file, error)); /* over nothing */
    assert_false(fixture_exists(draft));
    expect_file(self->hold, LAUNCHER_USER, 0600, 2);
}

/* Without SELinux in the kernel the label is an attribute as any other. */
static void
test_label(void **state)
{
    static const char label[] = "system_u:object_r:container_file_t:s0:c11,c22";
    const Launcher *self = *state;
    char found[sizeof label + 1] = "";
    WkFileId file;

    NEED_ROOT();
    if (setxattr(self->save, "security.selinux", label, sizeof label, 0) < 0)
        skip();
    OK(wk_launcher_image_create(self->hold, self->managed, &file, error));
    assert_int_equal(getxattr(self->hold, "security.selinux", found, sizeof found), sizeof label);
    assert_string_equal(found, label);
    put_guard(self->managed);
    memset(found, 0, sizeof found);
    assert_int_equal(getxattr(self->managed, "security.selinux", found, sizeof found),
                     sizeof label);
    assert_string_equal(found, label);
}

/* A lease of the pod's would make an open wait for it. */
static void
test_leased(void **state)
{
    const Launcher *self = *state;
    g_auto(WkImageLook) seen = { 0 };
    int fd;

    NEED_ROOT();
    (void)launcher_write_image(self->managed, DATA, BODY);
    fd = open(self->managed, O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_SETSIG, SIGURG), 0);
    assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    REFUSED(wk_image_look(self->managed, &seen, error), WK_ERROR_UNAVAILABLE, "ImageInUse");
    (void)g_close(fd, NULL);
    assert_int_equal(kind_of(self->managed), WK_IMAGE_FINAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, launcher_setup, launcher_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back),
        TEST(test_empty),
        TEST(test_create_refused),
        TEST(test_link_refused),
        TEST(test_claim_with_writer),
        TEST(test_claim_refused),
        TEST(test_stage_refused),
        TEST(test_label),
        TEST(test_leased),
        TEST(test_other_mount), /* the last: it leaves a mount namespace of its own */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
