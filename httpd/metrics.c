/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes the counters as Prometheus text, as JSON, and on the page of mod_status. */

#include "httpd/metrics.h"

#include <http_protocol.h>
#include <mod_status.h>
#include <string.h>

#include "mod_websocket.h"
#include "httpd/counters.h"
#include "httpd/shm.h"

/* Whether a row of the table is the first row of its metric. */
static int metrics_begins(unsigned i)
{
    return i == 0 || strcmp(ws_counter_table[i - 1].metric, ws_counter_table[i].metric) != 0;
}

static unsigned metrics_children(void)
{
    unsigned n = 0;
    ws_shm_owner owner;
    for (unsigned s = 0; s < ws_shm_slots(); s++) {
        n += (unsigned)ws_shm_owner_of(s, &owner);
    }
    return n;
}

void ws_metrics_prometheus(ws_strbuf *t)
{
    ws_counters sum;
    ws_counters_sum(&sum);
    ws_strbuf_printf(
        t,
        "# HELP websocket_build_info Always 1; the label is the version of the module\n# TYPE "
        "websocket_build_info gauge\nwebsocket_build_info{version=\"" WS_VERSION "\"} 1\n"
        "# HELP websocket_children Child processes that serve WebSockets, old and new\n"
        "# TYPE websocket_children gauge\n"
        "websocket_children %u\n",
        metrics_children());
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        const ws_counter_info *c = &ws_counter_table[i];
        if (metrics_begins(i)) {
            ws_strbuf_printf(t, "# HELP websocket_%s %s\n# TYPE websocket_%s %s\n", c->metric,
                             c->help, c->metric, c->gauge ? "gauge" : "counter");
        }
        ws_strbuf_printf(t, "websocket_%s", c->metric);
        if (*c->label) {
            ws_strbuf_printf(t, "{%s=\"%s\"}", c->label, c->value);
        }
        ws_strbuf_printf(t, " %" APR_UINT64_T_FMT "\n", sum.value[i]);
    }
}

void ws_metrics_json(ws_strbuf *t)
{
    ws_counters sum;
    ws_counters_sum(&sum);
    ws_strbuf_printf(t, "{\"children\":%u", metrics_children());
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        const ws_counter_info *c = &ws_counter_table[i];
        if (metrics_begins(i)) {
            ws_strbuf_printf(t, ",\"%s\":%s", c->metric, *c->label ? "{" : "");
        }
        else {
            ws_strbuf_puts(t, ",");
        }
        if (*c->label) {
            ws_strbuf_printf(t, "\"%s\":", c->value);
        }
        ws_strbuf_printf(t, "%" APR_UINT64_T_FMT, sum.value[i]);
        if (*c->label && (i + 1 == WS_COUNTER_COUNT || metrics_begins(i + 1))) {
            ws_strbuf_puts(t, "}");
        }
    }
    ws_strbuf_puts(t, "}");
}

/* ---- mod_status ---- */

static void metrics_short_page(request_rec *r, const ws_counters *sum)
{
    ap_rprintf(r, "websocket_children: %u\n", metrics_children());
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        const ws_counter_info *c = &ws_counter_table[i];
        ap_rprintf(r, "websocket_%s%s%s: %" APR_UINT64_T_FMT "\n", c->metric, *c->value ? "_" : "",
                   c->value, sum->value[i]);
    }
}

static void metrics_page(request_rec *r, const ws_counters *sum)
{
    ap_rprintf(r,
               "<hr>\n<h2>WebSockets</h2>\n<p>%u child processes with WebSockets</p>\n"
               "<table border=\"0\">\n",
               metrics_children());
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        const ws_counter_info *c = &ws_counter_table[i];
        if (metrics_begins(i)) {
            ap_rprintf(r, "%s<tr title=\"%s\"><th align=\"left\">%s</th><td>",
                       i ? "</td></tr>\n" : "", c->help, c->metric);
        }
        ap_rprintf(r, "%s%s<b>%" APR_UINT64_T_FMT "</b> ", c->value, *c->value ? " " : "",
                   sum->value[i]);
    }
    ap_rputs("</td></tr>\n</table>\n", r);
}

static int metrics_status_hook(request_rec *r, int flags)
{
    ws_counters sum;
    ws_counters_sum(&sum);
    if (flags & AP_STATUS_SHORT) {
        metrics_short_page(r, &sum);
    }
    else {
        metrics_page(r, &sum);
    }
    return OK;
}

void ws_metrics_register(apr_pool_t *p)
{
    (void)p;
    APR_OPTIONAL_HOOK(ap, status_hook, metrics_status_hook, NULL, NULL, APR_HOOK_MIDDLE);
}
