/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Prints the result, as text for people or JSON for programs. */

#include <stdio.h>

#include "tools/wsbench/wsbench.h"

/* Get the name of one event that a rate counts. */
static const char *report_unit(void)
{
    return opt.mode == MODE_CONNECT ? "handshake" : opt.mode == MODE_FAN ? "delivery" : "message";
}

static const char *report_units(void)
{
    return opt.mode == MODE_CONNECT ? "handshakes"
           : opt.mode == MODE_FAN   ? "deliveries"
                                    : "messages";
}

static uint64_t report_units_done(const result *r)
{
    return opt.mode == MODE_CONNECT ? r->closed : r->messages;
}

static const char *report_mode_name(void)
{
    static const char *const names[] = {"echo", "fan-out", "idle", "connect"};
    return names[opt.mode];
}

static const char *report_content_name(void)
{
    static const char *const names[] = {"binary", "text", "utf8", "json"};
    return names[opt.content];
}

static double report_per(double value, double n)
{
    return n > 0 ? value / n : 0;
}

static const struct {
    const char *name;
    double part;
} parts[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};

#define PARTS (sizeof(parts) / sizeof(*parts))

/* Print nanoseconds with three digits, in a suitable unit. */
static void report_text_time(double ns)
{
    static const char *const names[] = {"us", "ms", "s"};
    double value = ns / 1e3;
    int i = 0;
    while (value >= 999.5 && i < 2) {
        value /= 1e3;
        i++;
    }
    printf("%.*f %s", value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value, names[i]);
}

static void report_text_latency(const char *name, const histogram *h)
{
    if (h->count > 0) {
        printf("%-12s", name);
        for (unsigned i = 0; i < PARTS; i++) {
            printf("%s%s ", i ? ", " : " ", parts[i].name);
            report_text_time((double)histogram_at(h, parts[i].part));
        }
        printf("\n");
    }
}

static void report_as_text(const result *r)
{
    double n = (double)report_units_done(r);
    printf("%-12s %u connections", report_mode_name(), opt.connections);
    if (opt.mode == MODE_ECHO || opt.mode == MODE_FAN) {
        printf(", %zu bytes %s, ", opt.size, report_content_name());
        opt.rate > 0 ? printf("%g a second", opt.rate) : printf("%u in flight", opt.in_flight);
    }
    printf("%s, %.1f s%s\n", opt.deflate ? ", compressed" : "", r->seconds,
           r->interrupted ? ", interrupted" : "");
    if (r->problem) {
        printf("%-12s %s (%llu connections failed, %llu were lost, %llu messages were wrong)\n",
               "PROBLEM", r->problem, (unsigned long long)r->failed, (unsigned long long)r->lost,
               (unsigned long long)r->wrong);
    }
    if (opt.mode != MODE_IDLE) {
        printf("%-12s %.0f, %.0f a second", report_units(), n, report_per(n, r->seconds));
        if (r->bytes > 0) {
            printf(", %.1f MB a second", report_per((double)r->bytes / 1e6, r->seconds));
        }
        printf("\n");
    }
    report_text_latency("latency", &r->latency);
    report_text_latency("to the last", &board_shared->complete);
    report_text_latency("first-last", &board_shared->spread);
    if (r->server_cpu >= 0) {
        printf("%-12s %.2f of a processor", "server", report_per(r->server_cpu, r->seconds));
        if (n > 0 && opt.mode != MODE_IDLE) {
            printf(", %.2f us for each %s", report_per(r->server_cpu * 1e6, n), report_unit());
        }
        printf("\n");
    }
    if (r->memory_before >= 0 && r->memory >= 0) {
        printf("%-12s %.0f KiB before, %.0f KiB now, %.0f bytes a connection\n", "memory",
               r->memory_before, r->memory,
               report_per((r->memory - r->memory_before) * 1024, (double)r->opened));
    }
    printf("%-12s %u worker%s, %.2f of a processor, the busiest %.2f%s\n", "load", opt.workers,
           opt.workers > 1 ? "s" : "", report_per(r->own_cpu, r->seconds),
           report_per(r->busiest_cpu, r->seconds),
           report_per(r->busiest_cpu, r->seconds) > 0.9
               ? ": it may limit the result, increase --workers"
               : "");
}

/* ---- JSON ---- */

static void report_json_text(const char *name, const char *text)
{
    printf(",\"%s\":", name);
    if (!text) {
        printf("null");
        return;
    }
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        }
        else if (c < ' ' || c == 127) {
            printf("\\u%04x", c);
        }
        else {
            putchar(c);
        }
    }
    putchar('"');
}

/* Print a number. A negative number means that it is unknown. */
static void report_json_number(const char *name, double value)
{
    value < 0 ? printf(",\"%s\":null", name) : printf(",\"%s\":%.6g", name, value);
}

static void report_json_count(const char *name, uint64_t value)
{
    printf(",\"%s\":%llu", name, (unsigned long long)value);
}

static void report_json_latency(const char *name, const histogram *h)
{
    if (h->count == 0) {
        printf(",\"%s\":null", name);
        return;
    }
    printf(",\"%s\":{", name);
    for (unsigned i = 0; i < PARTS; i++) {
        printf("%s\"%s\":%.3f", i ? "," : "", parts[i].name,
               (double)histogram_at(h, parts[i].part) / 1e3);
    }
    putchar('}');
}

static void report_as_json(const result *r)
{
    double n = (double)report_units_done(r);
    printf("{\"mode\":\"%s\"", report_mode_name());
    report_json_count("connections", opt.connections);
    report_json_count("in_flight", opt.in_flight);
    report_json_count("size", opt.size);
    report_json_text("content", report_content_name());
    report_json_text("deflate", opt.deflate == DEFLATE_ON ? "on"
                                : opt.deflate             ? "takeover"
                                                          : "off");
    report_json_number("rate_wanted", opt.rate > 0 ? opt.rate : -1);
    report_json_number("seconds", r->seconds);
    report_json_count("opened", r->opened);
    report_json_count("failed", r->failed);
    report_json_count("lost", r->lost);
    report_json_count("wrong", r->wrong);
    report_json_text("problem", r->problem);
    printf(",\"interrupted\":%s", r->interrupted ? "true" : "false");
    report_json_count(report_units(), report_units_done(r));
    report_json_number("rate", report_per(n, r->seconds));
    report_json_number("bytes_per_second", report_per((double)r->bytes, r->seconds));
    report_json_latency("latency_us", &r->latency);
    report_json_latency("to_last_us", &board_shared->complete);
    report_json_latency("first_to_last_us", &board_shared->spread);
    report_json_number("server_cpu",
                       r->server_cpu < 0 ? -1 : report_per(r->server_cpu, r->seconds));
    report_json_number("server_cpu_us_each",
                       r->server_cpu < 0 || n <= 0 ? -1 : report_per(r->server_cpu * 1e6, n));
    report_json_number("server_memory_kib", r->memory);
    if (r->memory_before >= 0 && r->memory >= 0) {
        printf(",\"server_bytes_per_connection\":%.0f",
               report_per((r->memory - r->memory_before) * 1024, (double)r->opened));
    }
    report_json_count("workers", opt.workers);
    report_json_number("own_cpu", report_per(r->own_cpu, r->seconds));
    report_json_number("busiest_worker_cpu", report_per(r->busiest_cpu, r->seconds));
    printf("}\n");
}

void report_print(const result *r)
{
    opt.json ? report_as_json(r) : report_as_text(r);
}
