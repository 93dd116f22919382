/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads CPU time and memory of the server's processes from /proc. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/wsbench/wsbench.h"

/* Get the CPU time of a thread, nanoseconds. Use schedstat, which is exact, or ticks if it is not
 * available. */
static double server_thread_cpu(long pid, long thread)
{
    char name[96];
    double value = -1;
    FILE *f;
    snprintf(name, sizeof(name), "/proc/%ld/task/%ld/schedstat", pid, thread);
    if ((f = fopen(name, "r"))) {
        if (fscanf(f, "%lf", &value) != 1) {
            value = -1;
        }
        fclose(f);
        return value / 1e9;
    }
    snprintf(name, sizeof(name), "/proc/%ld/task/%ld/stat", pid, thread);
    if ((f = fopen(name, "r"))) {
        double user, system;
        /* the name in parentheses could contain a parenthesis, but thread names rarely do */
        if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf", &user,
                   &system)
            == 2) {
            value = (user + system) / (double)sysconf(_SC_CLK_TCK);
        }
        fclose(f);
    }
    return value;
}

static double server_process_cpu(long pid)
{
    char name[64];
    double sum = -1;
    struct dirent *entry;
    DIR *threads;
    snprintf(name, sizeof(name), "/proc/%ld/task", pid);
    if (!(threads = opendir(name))) {
        return -1;
    }
    while ((entry = readdir(threads))) {
        long thread = strtol(entry->d_name, NULL, 10);
        double cpu = thread > 0 ? server_thread_cpu(pid, thread) : -1;
        if (cpu >= 0) {
            sum = sum < 0 ? cpu : sum + cpu;
        }
    }
    closedir(threads);
    return sum;
}

static double server_process_memory(long pid)
{
    char name[64], line[256];
    double kib = -1;
    FILE *f;
    snprintf(name, sizeof(name), "/proc/%ld/smaps_rollup", pid);
    if ((f = fopen(name, "r"))) {
        while (fgets(line, sizeof(line), f)) {
            sscanf(line, "Pss: %lf", &kib);
        }
        fclose(f);
    }
    return kib;
}

static double server_of_all(long pid, double (*value)(long pid))
{
    char name[64];
    double sum = value(pid);
    long child;
    FILE *f;
    snprintf(name, sizeof(name), "/proc/%ld/task/%ld/children", pid, pid);
    if (sum >= 0 && (f = fopen(name, "r"))) {
        while (fscanf(f, "%ld", &child) == 1) {
            double more = server_of_all(child, value);
            sum += more > 0 ? more : 0;
        }
        fclose(f);
    }
    return sum;
}

double server_cpu(long pid)
{
    return pid ? server_of_all(pid, server_process_cpu) : -1;
}

double server_memory(long pid)
{
    return pid ? server_of_all(pid, server_process_memory) : -1;
}
