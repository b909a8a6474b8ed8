// The processors of the affinity mask, and the CPU quota of a container, which is not part of it; with more threads
// than the quota allows, the kernel suspends them for part of each period.
//
// /proc/self/cgroup has a line "hierarchy:controllers:path" for each hierarchy. In cgroup v2 controllers is empty, and
// cpu.max of a group holds "quota period" or "max period"; in v1 quota and period are separate files. Every ancestor
// limits the groups below it. A container may be told the path of its group while only part of the tree is mounted:
// unreadable groups count as unlimited, and its own group is then mounted as the root.
#include "build.h"

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "processors.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "mlpfast.h"
#include "system.h"

#define LONGEST 4096

// Reads up to two numbers from a file; returns how many it found.
static int read_numbers(const char *folder, const char *name, double *first, double *second) {
    char path[LONGEST + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int found = fscanf(file, "%lf %lf", first, second);
    fclose(file);
    return found;
}

// The quota of one group in processors; 0 for none.
static double quota_of(const char *folder) {
    double quota = 0, period = 0, rest;
    if (read_numbers(folder, "cpu.max", &quota, &period) != 2 &&
        (read_numbers(folder, "cpu.cfs_quota_us", &quota, &rest) < 1 ||  // -1 is none
         read_numbers(folder, "cpu.cfs_period_us", &period, &rest) < 1)) {
        return 0;
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

// The smallest quota of the group and its ancestors, up to the folder of the first `top` characters. Changes `folder`.
static double least_quota(char *folder, size_t top) {
    double least = 0;
    for (;;) {
        double quota = quota_of(folder);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
        char *slash = strrchr(folder + top, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

static int names_cpu(const char *controllers) {
    size_t length;
    for (; *controllers; controllers += length + (controllers[length] == ',')) {
        length = strcspn(controllers, ",");
        if (length == 3 && strncmp(controllers, "cpu", 3) == 0) return 1;
    }
    return 0;
}

// The quota that follows from one line of /proc/self/cgroup, without its newline. Changes `line`.
static double quota_of_line(const char *root, char *line) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) return 0;
    *path++ = '\0';
    controllers++;
    if (*controllers && !names_cpu(controllers)) return 0;

    char folder[LONGEST];
    int top = snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s%s", root, *controllers ? "/" : "", controllers);
    if (top < 0 || (size_t)top + strlen(path) >= sizeof folder) return 0;
    strcpy(folder + top, strcmp(path, "/") == 0 ? "" : path);
    return least_quota(folder, (size_t)top);
}

double mlp_cpu_quota(const char *root) {
    char line[LONGEST];
    if (snprintf(line, sizeof line, "%s/proc/self/cgroup", root) >= (int)sizeof line) return 0;
    FILE *file = fopen(line, "r");
    if (!file) return 0;
    double least = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        double quota = quota_of_line(root, line);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
    }
    fclose(file);
    return least;
}

// Not omp_get_num_procs: libgomp counts in a buffer that all threads share.
static int processors_of_mask(void) {
#if defined(__linux__)
    unsigned long mask[128];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int n = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++) n += __builtin_popcountl(mask[i]);
    if (n > 0) return n;
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

// A quota of one and a half processors counts as two.
static int count_processors(void) {
    int n = processors_of_mask();
    double quota = ceil(mlp_cpu_quota(""));
    return quota > 0 && quota < n ? (int)quota : n;
}

#define COUNT_SECONDS 0.05  // a change is obeyed within that time; counting takes some 30 us

static atomic_int counted;
static _Atomic double when;

int mlp_processors(void) {
    double now = mlp_seconds();
    if (atomic_load(&counted) > 0 && now - atomic_load(&when) < COUNT_SECONDS) return atomic_load(&counted);
    atomic_store(&when, now);
    int n = count_processors();
    atomic_store(&counted, n);
    return n;
}

int mlp_processors_last_counted(void) {
    int n = atomic_load_explicit(&counted, memory_order_relaxed);
    return n > 1 ? n : mlp_processors();  // calls on one thread would never count again
}
