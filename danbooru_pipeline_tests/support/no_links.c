/* A file system without hard links and without symbolic links, for a process and all that it starts, by LD_PRELOAD. */
#include <errno.h>

int link(const char *from, const char *to) {
    (void)from, (void)to;
    errno = EPERM;
    return -1;
}

int linkat(int one, const char *from, int other, const char *to, int flags) {
    (void)one, (void)from, (void)other, (void)to, (void)flags;
    errno = EPERM;
    return -1;
}

int symlink(const char *target, const char *path) {
    (void)target, (void)path;
    errno = EPERM;
    return -1;
}

int symlinkat(const char *target, int folder, const char *path) {
    (void)target, (void)folder, (void)path;
    errno = EPERM;
    return -1;
}
