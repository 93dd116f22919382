/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Gets the host, converted to ASCII, and the credentials from the authority of a URL. */

#include <apr_base64.h>
#include <apr_strings.h>
#include <string.h>

#include "client/connector.h"
#include "client/idn.h"

const char *ws_connector_credentials(const ws_connector *t, const ws_url *url)
{
    char *text, *coded;
    if (!url->user) {
        return NULL;
    }
    text = apr_pstrcat(t->once, url->user, ":", url->password, NULL);
    coded = apr_palloc(t->once, (apr_size_t)apr_base64_encode_len((int)strlen(text)));
    apr_base64_encode_binary(coded, (unsigned char *)text, (int)strlen(text));
    return apr_pstrcat(t->once, "Basic ", coded, NULL);
}

const char *ws_connector_international(ws_connector *t, ws_url *url)
{
    char name[WS_IDN_SIZE];
    const char *wrong = ws_idn_to_ascii(url->host, name);
    if (wrong) {
        return apr_psprintf(t->once, "the host \"%s\": %s", url->host, wrong);
    }
    url->host = apr_pstrdup(t->once, name);
    url->international = 0;
    return NULL;
}
