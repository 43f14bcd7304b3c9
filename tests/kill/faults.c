/* Faults of the disk and of the process, at the K-th change below a folder.

Loaded by LD_PRELOAD into a Python, so that it sees what libraries in Rust and C write too. A change
is what creates, writes, cuts, flushes, renames or removes. COUNT counts them; KILL ends the process
by SIGKILL before the K-th; FULL answers "no space left" to it and to all later ones that need space
(the disk is full from then on), while renames and removals go on to work; READ_ONLY refuses all of
them from then on, as a disk does that was remounted after an error; MOVED renames the folder "out"
in the folder to "moved" before the K-th, as if somebody else had. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, COUNT, KILL, FULL, READ_ONLY, MOVED };
static int mode = OFF;
static long at = 0;
static char root[PATH_MAX];
static atomic_long seen = 0;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void faults_arm(int new_mode, long new_at, const char *new_root) {
    strncpy(root, new_root, sizeof root - 1);
    at = new_at;
    atomic_store(&seen, 0);
    mode = new_mode;
}

long faults_seen(void) { return atomic_load(&seen); }

static void move_out(void) {
    char out[PATH_MAX + 8], moved[PATH_MAX + 8];
    snprintf(out, sizeof out, "%s/out", root);
    snprintf(moved, sizeof moved, "%s/moved", root);
    REAL(rename)(out, moved);
}

/* Whether the change fails; does not return where the process ends. */
static int fails(int needs_space) {
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (mode == KILL && number == at) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (mode == FULL && number >= at && needs_space) {
        errno = ENOSPC;
        return 1;
    }
    if (mode == READ_ONLY && number >= at) {
        errno = EROFS;
        return 1;
    }
    if (mode == MOVED && number == at) move_out();
    return 0;
}

static int is_below(const char *path) { return strncmp(path, root, strlen(root)) == 0; }

static int counts_path(const char *path) {
    if (mode == OFF || path == NULL) return 0;
    if (path[0] == '/') return is_below(path);
    char folder[PATH_MAX];
    return getcwd(folder, sizeof folder) != NULL && is_below(folder);
}

static int counts_fd(int fd) {
    if (mode == OFF || fd < 3) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

#define OPEN(name, given, path, ...)                                       \
    int name given {                                                        \
        mode_t bits = 0;                                                    \
        if (flags & (O_CREAT | O_TMPFILE)) {                                \
            va_list rest;                                                   \
            va_start(rest, flags);                                          \
            bits = va_arg(rest, mode_t);                                    \
            va_end(rest);                                                   \
        }                                                                   \
        int changes = (flags & O_TRUNC) || ((flags & O_CREAT) && access(path, F_OK)) || \
                      (mode == READ_ONLY && (flags & O_ACCMODE) != O_RDONLY);       \
        if (changes && counts_path(path) && fails(flags & O_CREAT)) return -1; \
        return REAL(name)(__VA_ARGS__, flags, bits);                        \
    }

OPEN(open, (const char *path, int flags, ...), path, path)
OPEN(open64, (const char *path, int flags, ...), path, path)
OPEN(openat, (int folder, const char *path, int flags, ...), path, folder, path)
OPEN(openat64, (int folder, const char *path, int flags, ...), path, folder, path)

#define BY_FD(type, name, given, fd, needs, ...)                            \
    type name given {                                                       \
        if (counts_fd(fd) && fails(needs)) return -1;                       \
        return REAL(name)(__VA_ARGS__);                                     \
    }

BY_FD(ssize_t, write, (int fd, const void *data, size_t n), fd, 1, fd, data, n)
BY_FD(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t o), fd, 1, fd, data, n, o)
BY_FD(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t o), fd, 1, fd, data, n, o)
BY_FD(ssize_t, writev, (int fd, const struct iovec *v, int n), fd, 1, fd, v, n)
BY_FD(ssize_t, sendfile, (int out, int in, off_t *o, size_t n), out, 1, out, in, o, n)
BY_FD(ssize_t, sendfile64, (int out, int in, off64_t *o, size_t n), out, 1, out, in, o, n)
BY_FD(int, ftruncate, (int fd, off_t n), fd, 1, fd, n)
BY_FD(int, ftruncate64, (int fd, off64_t n), fd, 1, fd, n)
BY_FD(int, fsync, (int fd), fd, 1, fd)
BY_FD(int, fdatasync, (int fd), fd, 1, fd)

#define BY_PATH(name, given, path, needs, ...)                              \
    int name given {                                                        \
        if (counts_path(path) && fails(needs)) return -1;                   \
        return REAL(name)(__VA_ARGS__);                                     \
    }

BY_PATH(mkdir, (const char *path, mode_t bits), path, 1, path, bits)
BY_PATH(rename, (const char *old, const char *path), path, 0, old, path)
BY_PATH(unlink, (const char *path), path, 0, path)
BY_PATH(rmdir, (const char *path), path, 0, path)
BY_PATH(unlinkat, (int folder, const char *path, int flags), path, 0, folder, path, flags)
