// Linux: futexes, the affinity mask, control groups, huge pages.
//
// The CPU quota of a container is not part of the affinity mask; with more threads than the quota allows, the kernel
// suspends them for part of each period. /proc/self/cgroup has a line "hierarchy:controllers:path" for each hierarchy.
// In cgroup v2 controllers is empty, and cpu.max of a group holds "quota period" or "max period"; in v1 quota and period
// are separate files. Every ancestor limits the groups below it. A container may be told the path of its group while only
// part of the tree is mounted: unreadable groups count as unlimited, and its own group is then mounted as the root.
#include "../build.h"

#if defined(__linux__)
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(MLP_NO_FUTEX)
void mlp_sleep_while(atomic_uint *word, unsigned value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void mlp_wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }
#endif

void mlp_take_huge_pages(void *block, size_t bytes) {
#if defined(MADV_HUGEPAGE)
    (void)madvise(block, bytes, MADV_HUGEPAGE);
#else
    (void)block, (void)bytes;
#endif
}

// ---- Processors ----

int mlp_processor(void) { return sched_getcpu(); }

// Not omp_get_num_procs: libgomp counts in a buffer that all threads share.
int mlp_processors_of_process(void) {
    unsigned long mask[128];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int n = 0;
    for (long i = 0; i < bytes / (long)sizeof *mask; i++) n += __builtin_popcountl(mask[i]);
    if (n > 0) return n;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

// ---- Control groups ----

#define LONGEST 4096

// Reads up to two numbers from a file; returns how many it found.
static int numbers_in(const char *folder, const char *name, double *first, double *second) {
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
    if (numbers_in(folder, "cpu.max", &quota, &period) != 2 &&
        (numbers_in(folder, "cpu.cfs_quota_us", &quota, &rest) < 1 ||  // -1 is none
         numbers_in(folder, "cpu.cfs_period_us", &period, &rest) < 1)) {
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
#else
typedef int mlp_not_built;
#endif
