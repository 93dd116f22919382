/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Wakes a polling thread with an eventfd. Wake-ups that arrive before the thread polls are merged.
 *  */

#include "base/wake.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <apr.h>

apr_status_t ws_wake_create(int *fd)
{
    return (*fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0 ? errno : APR_SUCCESS;
}

void ws_wake(int fd)
{
    apr_uint64_t one = 1;
    int before = errno;

    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
    errno = before;
}

void ws_woken(int fd)
{
    apr_uint64_t count;

    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}
