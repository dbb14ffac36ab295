/* What the kernel's files say about cores: of machines that this one is not, as files in a folder. */
#include "dist/machine.h"
#include "tests/unit/h5_helpers.h"

#include <sys/stat.h>

/* A file below the test's folder, with all folders above it. */
static void put(const char *path, const char *text)
{
    char whole[4200];
    snprintf(whole, sizeof whole, "%s%s", test_dir, path);
    for (char *slash = whole + strlen(test_dir) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        (void)mkdir(whole, 0700);
    }
    write_whole(whole, text, strlen(text));
}

static void put_cpu(int cpu, const char *siblings, const char *socket)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    put(path, siblings);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    put(path, socket);
}

/* "200000 100000": 2 cores. Half a core more is one more to run on. */
static void quotas_of_version_2(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int cores;
    } cases[] = {{"200000 100000\n", 2}, {"250000 100000\n", 3}, {"1 100000\n", 1},
                 {"100001 100000\n", 2}, {"max 100000\n", 0},    {"", 0},
                 {"0 100000\n", 0},      {"200000\n", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("/sys/fs/cgroup/cpu.max", cases[i].text);
        if (nt_machine_quota(test_dir) != cases[i].cores)
            fail_msg("'%s' is taken for %d cores", cases[i].text, nt_machine_quota(test_dir));
    }
}

static void quotas_of_version_1(void **state)
{
    (void)state;
    assert_int_equal(nt_machine_quota(test_dir), 0); /* no file at all */
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
    assert_int_equal(nt_machine_quota(test_dir), 0); /* of what period? */
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(nt_machine_quota(test_dir), 2);
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(nt_machine_quota(test_dir), 0);
}

/* Threads of a core are neighbours (0-1), or half the machine apart (0,4); only those of the set count. */
static void first_threads_of_cores(void **state)
{
    (void)state;
    cpu_set_t all, odd;
    CPU_ZERO(&all);
    CPU_ZERO(&odd);
    for (size_t c = 0; c < 8; c++) {
        CPU_SET(c, &all);
        if (c % 2) CPU_SET(c, &odd);
    }
    put_cpu(0, "0-1\n", "0\n");
    put_cpu(1, "0-1\n", "0\n");
    put_cpu(3, "2-3\n", "1\n");
    put_cpu(5, "1,5\n", "1\n");
    put_cpu(6, "2,4-6\n", "12\n");
    put_cpu(7, "5-7\n", "1\n");
    assert_int_equal(nt_machine_first_sibling(test_dir, 0, &all), 0);
    assert_int_equal(nt_machine_first_sibling(test_dir, 1, &all), 0);
    assert_int_equal(nt_machine_first_sibling(test_dir, 1, &odd), 1);
    assert_int_equal(nt_machine_first_sibling(test_dir, 3, &all), 2);
    assert_int_equal(nt_machine_first_sibling(test_dir, 5, &all), 1);
    assert_int_equal(nt_machine_first_sibling(test_dir, 6, &all), 2);
    assert_int_equal(nt_machine_first_sibling(test_dir, 6, &odd), 5);
    CPU_CLR(5, &all);
    assert_int_equal(nt_machine_first_sibling(test_dir, 7, &all), 6); /* the second of three */
    assert_int_equal(nt_machine_first_sibling(test_dir, 4, &all), 4); /* nobody knows */
    assert_int_equal(nt_machine_socket(test_dir, 6), 12);
    assert_int_equal(nt_machine_socket(test_dir, 4), 0);
}

/* On "0-1" the last of a range is thread 1 itself, on "0-2" it is a neighbour below 3 that the set may have
 * alone. */
static void ranges_include_their_last(void **state)
{
    (void)state;
    cpu_set_t two;
    CPU_ZERO(&two);
    CPU_SET(2, &two);
    CPU_SET(3, &two);
    put_cpu(3, "0-2,3\n", "0\n");
    assert_int_equal(nt_machine_first_sibling(test_dir, 3, &two), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(quotas_of_version_2, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(quotas_of_version_1, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(first_threads_of_cores, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(ranges_include_their_last, make_test_dir, remove_test_dir),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
