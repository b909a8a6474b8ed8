// The CPU quota, read from file trees like those of containers.
#include "check.h"

#include "os/os.h"

#if defined(__linux__)
#include <errno.h>
#include <sys/stat.h>

static char root[64];

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

static void put(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    make_folders(path);
    FILE *file = fopen(path, "w");
    if (!CHECK(file != NULL)) return;
    fputs(text, file);
    fclose(file);
}

static void begin(const char *what, const char *groups) {
    doing("%s", what);
    snprintf(root, sizeof root, "/tmp/mlpfast-processors-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    if (groups) put("/proc/self/cgroup", groups);
}

static void end(double wanted) {
    double got = mlp_cpu_quota(root);
    CHECK(got == wanted);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    CHECK(system(command) == 0);
}

static void test_version_2(void) {
    begin("no limit", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    end(0);
    begin("a limit", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    end(1.5);
    begin("the limit of a group above", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    end(0.5);
    begin("a group above allows more", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
    end(0.5);
    begin("the group of a container is the root", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    end(3);
    begin("a path that the container does not see", "0::/docker/0123\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    end(2);
    begin("a file above all groups is none of theirs", "0::/a\n");
    put("/sys/fs/cpu.max", "100000 100000\n");
    put("/cpu.max", "100000 100000\n");
    end(0);
}

static void test_version_1(void) {
    const char *groups = "12:cpuset:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n0::/a/b\n";
    begin("no limit", groups);
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
    end(0);
    begin("a limit", groups);
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "1\n");  // of another hierarchy
    put("/sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "100000\n");
    end(2.5);
    begin("a path that the container does not see", "4:cpu:/docker/0123\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
    end(2);
    begin("a quota without its period", "4:cpu:/\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    end(0);
    begin("another controller with a name of three letters", "4:rdm:/\n");
    put("/sys/fs/cgroup/rdm/cpu.max", "100000 100000\n");
    end(0);
}

static void test_both_versions(void) {
    for (int i = 0; i < 2; i++) {
        begin("the smaller of two limits", i ? "0::/a\n4:cpu:/b\n" : "4:cpu:/b\n0::/a\n");
        put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
        put("/sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", "200000\n");
        put("/sys/fs/cgroup/cpu/b/cpu.cfs_period_us", "100000\n");
        end(2);
    }
}

#define LONGEST_LINE 4096  // LONGEST of os/linux.c

static void test_what_cannot_be_read(void) {
    begin("no file", NULL);
    end(0);
    const char *lines[] = {"", "\n", "0\n", "0:\n", ":::\n", "0::\n", "0:cpu\n", "\xff\xfe::/\xff\n", "0::/a:b\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        begin("a strange line", lines[i]);
        end(0);
    }
    const char *limits[] = {"", "x", "1", "0 0", "0 100000", "100000 0", "-1 100000", "100000 -1", "nan nan", "max"};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        begin("a strange limit", "0::/\n");
        put("/sys/fs/cgroup/cpu.max", limits[i]);
        end(0);
    }
    char longest[9000];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "0::/", 4);
    longest[sizeof longest - 1] = '\0';
    begin("a long line", longest);
    end(0);
    longest[LONGEST_LINE - 1] = '\0';
    begin("a line that can be read, and a path that cannot", longest);
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    end(0);
    doing("no root at all");
    CHECK(mlp_cpu_quota(longest) == 0);
    CHECK(mlp_cpu_quota("/nowhere/at/all") == 0);
    CHECK(mlp_cpu_quota("") >= 0);
}
#endif

static void test_processors(void) {
    doing("processors");
    int n = mlp_processors_of_process();
    CHECK(n > 0 && n < 100000);
    CHECK(mlp_processor() >= -1 && mlp_processor() < 100000);
}

int main(int argc, char **argv) {
    check_begin(argc, argv, 60);
#if defined(__linux__)
    test_version_2();
    test_version_1();
    test_both_versions();
    test_what_cannot_be_read();
#endif
    test_processors();
    return check_end("test_processors");
}
