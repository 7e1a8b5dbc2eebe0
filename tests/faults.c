/* Make one of a process's calls on the files of one folder fail: a library for LD_PRELOAD.

   FAULTS_BOX is the folder, FAULTS_CONTROL a file with a `struct control`, which faults.py writes
   while the processes run. faults.py also numbers the calls: CALL_open and so on. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SHORT (-1) /* in place of an errno: half of the data is written */

struct control {
    int parent;   /* of the daemon; all other processes are its workers and helpers */
    int is_on;
    int call;
    int in_worker;
    int error;
    int skip;     /* calls before the first that fails */
    int left;     /* how many are still to fail */
    int injected; /* how many have failed */
    int seen[2][CALLS]; /* calls of the daemon and of the others, counted always */
    char part[64];      /* only paths that contain this fail */
    char where[256];    /* of the first fault */
};

static struct control *control;
static const char *box;

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("FAULTS_CONTROL");
    box = getenv("FAULTS_BOX");
    int descriptor = file && box ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    control = found == MAP_FAILED ? NULL : found;
}

/* Return whether a call must fail; set errno then. */
static int fails_at(int call, const char *path)
{
    size_t length = strlen(box);
    /* box/log is stderr. */
    if (strncmp(path, box, length) || path[length] != '/' || !strcmp(path + length, "/log"))
        return 0;
    int in_worker = getppid() != control->parent;
    __sync_fetch_and_add(&control->seen[in_worker][call], 1);
    if (!control->is_on || control->call != call || control->in_worker != in_worker)
        return 0;
    if (!strstr(path, control->part))
        return 0;
    if (__sync_fetch_and_sub(&control->skip, 1) > 0 || __sync_fetch_and_sub(&control->left, 1) <= 0)
        return 0;
    if (__sync_fetch_and_add(&control->injected, 1) == 0)
        strncpy(control->where, path, sizeof control->where - 1);
    errno = control->error;
    return 1;
}

/* The same for a descriptor, or for a path relative to one. */
static int fails(int call, int descriptor, const char *path)
{
    char link[32], whole[2 * PATH_MAX];
    int before = errno;
    if (!control)
        return 0;
    if (path && path[0] == '/')
        return fails_at(call, path);
    if (descriptor < 0)
        return 0; /* relative to the working folder, which is not in the box */
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, whole, PATH_MAX);
    errno = before;
    if (length < 0)
        return 0;
    snprintf(whole + length, PATH_MAX, "%s%s", path ? "/" : "", path ? path : "");
    return fails_at(call, whole);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Define a function that fails with `result`; `at`: its descriptor and path. */
#define WRAP(type, name, call, result, at, parameters, arguments) \
    type name parameters \
    { \
        REAL(name); \
        return fails(CALL_##call, at) ? result : real arguments; \
    }
#define AT(descriptor, path) descriptor, path

#define WRAP_OPEN(name, folder, parameters, arguments) \
    int name parameters \
    { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        return fails(CALL_open, folder, path) ? -1 : real arguments; \
    }
#define WRAP_WRITE(name, call, parameters, ...) \
    ssize_t name parameters \
    { \
        REAL(name); \
        if (fails(CALL_##call, file, NULL)) { \
            if (control->error != SHORT) \
                return -1; \
            size /= 2; \
        } \
        return real(__VA_ARGS__); \
    }

WRAP_OPEN(open, -1, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(open64, -1, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(openat, folder, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
WRAP_OPEN(openat64, folder, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
WRAP(FILE *, fopen64, open, NULL, AT(-1, path), (const char *path, const char *mode), (path, mode))
WRAP(DIR *, opendir, open, NULL, AT(-1, path), (const char *path), (path))
WRAP(DIR *, fdopendir, open, NULL, AT(file, NULL), (int file), (file))
WRAP(struct dirent64 *, readdir64, getdents, NULL, AT(dirfd(folder), NULL), (DIR *folder), (folder))
WRAP(ssize_t, read, read, -1, AT(file, NULL), (int file, void *data, size_t size), (file, data, size))
WRAP(ssize_t, pread64, pread, -1, AT(file, NULL), (int file, void *data, size_t size, off64_t at),
     (file, data, size, at))
WRAP_WRITE(write, write, (int file, const void *data, size_t size), file, data, size)
WRAP_WRITE(pwrite64, pwrite, (int file, const void *data, size_t size, off64_t at), file, data, size, at)
WRAP(int, fsync, fsync, -1, AT(file, NULL), (int file), (file))
WRAP(int, fdatasync, fsync, -1, AT(file, NULL), (int file), (file))
WRAP(int, syncfs, syncfs, -1, AT(file, NULL), (int file), (file))
WRAP(int, rename, rename, -1, AT(-1, from), (const char *from, const char *to), (from, to))
WRAP(int, renameat, rename, -1, AT(old, from), (int old, const char *from, int new, const char *to),
     (old, from, new, to))
WRAP(int, renameat2, renameat2, -1, AT(old, from),
     (int old, const char *from, int new, const char *to, unsigned flags), (old, from, new, to, flags))
WRAP(int, link, link, -1, AT(-1, from), (const char *from, const char *to), (from, to))
WRAP(int, unlink, unlink, -1, AT(-1, path), (const char *path), (path))
WRAP(int, unlinkat, unlink, -1, AT(folder, path), (int folder, const char *path, int flags),
     (folder, path, flags))
WRAP(int, mkdir, mkdir, -1, AT(-1, path), (const char *path, mode_t mode), (path, mode))
WRAP(int, ftruncate64, ftruncate, -1, AT(file, NULL), (int file, off64_t size), (file, size))
WRAP(int, stat64, stat, -1, AT(-1, path), (const char *path, struct stat64 *info), (path, info))
WRAP(int, lstat64, stat, -1, AT(-1, path), (const char *path, struct stat64 *info), (path, info))
WRAP(int, fstat64, fstat, -1, AT(file, NULL), (int file, struct stat64 *info), (file, info))
WRAP(int, fstatat64, stat, -1, AT(folder, path),
     (int folder, const char *path, struct stat64 *info, int flags), (folder, path, info, flags))
WRAP(int, access, stat, -1, AT(-1, path), (const char *path, int mode), (path, mode))
WRAP(int, statvfs64, statvfs, -1, AT(-1, path), (const char *path, struct statvfs64 *info), (path, info))
WRAP(int, fstatvfs64, statvfs, -1, AT(file, NULL), (int file, struct statvfs64 *info), (file, info))
WRAP(int, flock, flock, -1, AT(file, NULL), (int file, int how), (file, how))
WRAP(int, inotify_add_watch, inotify_add_watch, -1, AT(-1, path),
     (int file, const char *path, uint32_t mask), (file, path, mask))
WRAP(int, utimensat, utimensat, -1, AT(folder, path),
     (int folder, const char *path, const struct timespec times[2], int flags),
     (folder, path, times, flags))
WRAP(int, fchmod, chmod, -1, AT(file, NULL), (int file, mode_t mode), (file, mode))
WRAP(int, chmod, chmod, -1, AT(-1, path), (const char *path, mode_t mode), (path, mode))

/* The descriptor is closed even if close fails, as on Linux. */
int close(int file)
{
    REAL(close);
    int is_to_fail = fails(CALL_close, file, NULL);
    int error = errno;
    int result = real(file);
    if (!is_to_fail)
        return result;
    errno = error;
    return -1;
}
