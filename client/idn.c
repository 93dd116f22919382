/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Converts internationalized host names to ASCII with libidn2. A build without the library refuses
 * them.
 */

#include "client/idn.h"

#include <string.h>

#ifdef WS_WITH_IDN
#include <idn2.h>

const char *ws_idn_to_ascii(const char *host, char out[WS_IDN_SIZE])
{
    char *name = NULL;
    size_t len;
    int rv = idn2_lookup_u8((const unsigned char *)host, (unsigned char **)&name,
                            IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rv != IDN2_OK) {
        return idn2_strerror(rv);
    }
    len = strlen(name);
    /* The mapping can produce characters that delimit parts of a URL. */
    if (len >= WS_IDN_SIZE
        || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
               < len) {
        idn2_free(name);
        return "it has characters that are invalid in a host name";
    }
    memcpy(out, name, len + 1);
    idn2_free(name);
    return NULL;
}

#else

const char *ws_idn_to_ascii(const char *host, char out[WS_IDN_SIZE])
{
    (void)host;
    *out = '\0';
    return "this build has no libidn2";
}

#endif
