/* open_beneath.c: open a name that a client chose, below a directory, so that nothing leads out of it: no "..", no
 * absolute name, no link to elsewhere, no link of /proc. The kernel sees to it (openat2(2), Linux 5.6), whatever is
 * renamed meanwhile.
 */
#include "blitz_native.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437                          /* on every architecture */
#endif

/* <linux/openat2.h>, which older systems that we are built on have not. */
enum { RESOLVE_NO_MAGICLINKS_ = 0x02, RESOLVE_BENEATH_ = 0x08, TRIES = 8 };
typedef struct { uint64_t flags, mode, resolve; } open_how_;

int blitz_open_beneath(int directory, const char *name, int flags)
{
    open_how_ how = {(uint64_t)(flags | O_CLOEXEC), 0, RESOLVE_BENEATH_ | RESOLVE_NO_MAGICLINKS_};
    long fd = -1;
    /* EAGAIN: something was renamed while a link with ".." was followed. */
    for (int i = 0; i < TRIES; i++) {
        fd = syscall(SYS_openat2, directory, name, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd >= 0 ? (int)fd : -errno;
}
