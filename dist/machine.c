/* See machine.h. Files that are not there, or say what nobody foresaw, are no errors: the answer is then the
 * one that restricts nothing. */
#include "dist/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool nt_machine_line(const char *path, char *text, int cap)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(text, cap, file) != NULL;
    fclose(file);
    return ok;
}

static bool read_of_root(const char *root, const char *path, char *text, int cap)
{
    char whole[4096];
    int n = snprintf(whole, sizeof whole, "%s%s", root, path);
    return n > 0 && n < (int)sizeof whole && nt_machine_line(whole, text, cap);
}

/* The file says "0,32" or "0-1". */
int nt_machine_first_sibling(const char *root, int cpu, const cpu_set_t *set)
{
    char path[96], text[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!read_of_root(root, path, text, sizeof text)) return cpu;
    for (char *at = text; *at >= '0' && *at <= '9';) {
        long low = strtol(at, &at, 10), high = low;
        if (*at == '-') high = strtol(at + 1, &at, 10);
        for (long c = low; c <= high && c < cpu; c++)
            if (CPU_ISSET((size_t)c, set)) return (int)c;
        if (*at == ',') at++;
    }
    return cpu;
}

int nt_machine_socket(const char *root, int cpu)
{
    char path[96], text[32];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    return read_of_root(root, path, text, sizeof text) ? atoi(text) : 0;
}

int nt_machine_quota(const char *root)
{
    char text[64];
    long long quota = 0, period = 0;
    if (read_of_root(root, "/sys/fs/cgroup/cpu.max", text,
                     sizeof text)) { /* version 2: "200000 100000", "max 100000" */
        if (sscanf(text, "%lld %lld", &quota, &period) != 2) return 0;
    } else {
        if (read_of_root(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, sizeof text)) quota = atoll(text);
        if (read_of_root(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", text, sizeof text))
            period = atoll(text);
    }
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}
