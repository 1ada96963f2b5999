/* Faults below the gateway, by LD_PRELOAD: what a spool's disk refuses, or is slow to do.
 *
 * Only calls on a file `….rec` are touched. In the folder $FAULTS:
 *   <call>       the call fails with the errno that this file holds
 *   hold-<call>  the call does not return while this file is there
 *   log          a line for every call: its name, the file's path, the errno that it gave
 * Calls: posix_fallocate, fdatasync.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int recording(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strstr(path, ".rec") || strstr(path, ".selftest");
}

static int trigger(const char *prefix, const char *call) {
    char name[PATH_MAX], text[16] = "";
    snprintf(name, sizeof name, "%s/%s%s", getenv("FAULTS"), prefix, call);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    return size > 0 ? atoi(text) : -1;
}

static void report(const char *call, const char *path, int code) {
    char name[PATH_MAX], line[PATH_MAX + 64];
    snprintf(name, sizeof name, "%s/log", getenv("FAULTS"));
    int size = snprintf(line, sizeof line, "%s %s %d\n", call, path, code);
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, (size_t)size) != size) _exit(99);
    close(fd);
}

/* The errno to fail with, 0 for none; returns when nothing holds the call any more. */
static int fault(const char *call, const char *path) {
    int code = trigger("", call);
    report(call, path, code);
    while (trigger("hold-", call) != 0) usleep(2000);
    return code;
}

int fdatasync(int fd) {
    static int (*real)(int);
    char path[PATH_MAX];
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int code = recording(fd, path) ? fault("fdatasync", path) : 0;
    if (code == 0) return real(fd);
    errno = code;
    return -1;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    static int (*real)(int, off64_t, off64_t);
    char path[PATH_MAX];
    if (!real) real = (int (*)(int, off64_t, off64_t))dlsym(RTLD_NEXT, "posix_fallocate64");
    int code = recording(fd, path) ? fault("posix_fallocate", path) : 0;
    return code != 0 ? code : real(fd, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    return posix_fallocate64(fd, offset, length);
}
