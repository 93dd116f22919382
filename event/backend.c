/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The backends epoll and io_uring: their names, and whether the build and the kernel support
 *  them. */

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "event/loop.h"
#include "event/ring.h"

const char *ws_backend_name(ws_backend backend)
{
    static const char *const names[] = {"epoll", "io_uring", "auto"};
    return names[backend];
}

int ws_backend_parse(const char *name, ws_backend *backend)
{
    for (ws_backend b = WS_BACKEND_EPOLL; b <= WS_BACKEND_AUTO; b++) {
        if (!strcasecmp(name, ws_backend_name(b))) {
            *backend = b;
            return 0;
        }
    }
    return -1;
}

static const char *backend_remedy(apr_status_t rv)
{
    if (APR_STATUS_IS_EACCES(rv) || rv == EPERM) {
        return "Set the sysctl kernel.io_uring_disabled to 0, or allow io_uring_setup(2) in the "
               "container's seccomp profile";
    }
    if (APR_STATUS_IS_ENOMEM(rv)) {
        return "Raise the limit of locked memory (ulimit -l): each event loop locks 128 KiB";
    }
    return "Linux 6.1 or newer is required";
}

void ws_backend_explain(apr_status_t rv, char why[WS_BACKEND_TEXT])
{
    char text[120];
    if (rv == APR_ENOTIMPL) {
        snprintf(
            why, WS_BACKEND_TEXT,
            "this module was built without io_uring; build it where liburing-dev (2.3 or newer) is "
            "installed");
        return;
    }
    snprintf(why, WS_BACKEND_TEXT, "the kernel refuses io_uring: %s. %s",
             apr_strerror(rv, text, sizeof(text)), backend_remedy(rv));
}

apr_status_t ws_backend_check(ws_backend backend, char why[WS_BACKEND_TEXT])
{
    apr_status_t rv = backend == WS_BACKEND_URING ? ws_ring_check() : APR_SUCCESS;
    if (rv != APR_SUCCESS && why) {
        ws_backend_explain(rv, why);
    }
    return rv;
}
