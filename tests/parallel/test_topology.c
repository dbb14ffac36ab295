/* Threads and pinning on the machine at hand, whatever it is: what must hold everywhere. */
#include "parallel.h"

#include "dist/topology.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* How many ranks may use each hardware thread. */
static void count_users(nt_comm *comm, double users[CPU_SETSIZE], int *n_mine)
{
    cpu_set_t mine;
    EXPECT(comm, sched_getaffinity(0, sizeof mine, &mine) == 0, "sched_getaffinity");
    *n_mine = CPU_COUNT(&mine);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        users[cpu] = CPU_ISSET((size_t)cpu, &mine) != 0;
    EXPECT_OK(comm, nt_comm_host_reduce(comm, users, CPU_SETSIZE, NT_REDUCE_SUM));
}

static bool mask_changed(const cpu_set_t *before)
{
    cpu_set_t now;
    return sched_getaffinity(0, sizeof now, &now) != 0 || !CPU_EQUAL(&now, before);
}

static void test_threads(nt_comm *comm)
{
    EXPECT(comm, nt_topology_threads(comm, 7) == 7, "the user's wish counts");
    int threads = nt_topology_threads(comm, 0);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    EXPECT(comm, threads >= 1, "%d threads", threads);
    EXPECT(comm, threads == 1 || threads * comm->local_size <= online, "%d threads each on %ld processors",
           threads, online);
}

/* Sets a variable, or removes it (NULL). */
static void set_variable(nt_comm *comm, const char *name, const char *value)
{
    EXPECT(comm, (value ? setenv(name, value, 1) : unsetenv(name)) == 0, "%s", name);
}

/* As srun starts two ranks on this host: the bindings it makes, and Open MPI's own variable, which says
 * "none" under srun whatever was bound. */
static void test_srun_binding(nt_comm *comm)
{
    static const struct {
        const char *bind, *list;
        bool whole; /* the mask is this rank's alone */
    } cases[] = {
        {"quiet,mask_cpu:0xf,0xf0", "0xf,0xf0", true},
        {"quiet,mask_cpu:0xf,0xf", "0xf,0xf", false},
        {"quiet,mask_cpu:0xf", "0xf", false}, /* a list is counted around */
        {"quiet,mask_cpu:0xf,0xff", "0xf,0xff", true},
        {"quiet,rank", NULL, true},
        {"quiet,none", NULL, false},
    };
    if (nt_comm_launched()) return; /* under mpirun, mpirun's word counts */
    int alone = nt_topology_threads(comm, 0);
    nt_comm two = *comm;
    two.local_size = 2;
    set_variable(comm, "OMPI_MCA_hwloc_base_binding_policy", "none");
    set_variable(comm, "SLURM_LOCALID", "0");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_variable(comm, "SLURM_CPU_BIND", cases[i].bind);
        set_variable(comm, "SLURM_CPU_BIND_LIST", cases[i].list);
        int wanted = cases[i].whole ? alone : alone > 1 ? alone / 2 : 1;
        int threads = nt_topology_threads(&two, 0);
        EXPECT(comm, threads == wanted, "%s: %d threads, not %d", cases[i].bind, threads, wanted);
    }
    set_variable(comm, "SLURM_CPU_BIND", NULL);
    set_variable(comm, "SLURM_CPU_BIND_LIST", NULL);
    set_variable(comm, "SLURM_LOCALID", NULL);
    set_variable(comm, "OMPI_MCA_hwloc_base_binding_policy", NULL);
}

/* Told to keep off, it keeps off. Runs before the test that pins. */
static void test_bind_to_none_is_respected(nt_comm *comm)
{
    cpu_set_t before;
    EXPECT(comm, sched_getaffinity(0, sizeof before, &before) == 0, "sched_getaffinity");
    const char *old = getenv("OMPI_MCA_hwloc_base_binding_policy");
    EXPECT(comm, setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1) == 0, "setenv");
    EXPECT_OK(comm, nt_topology_pin(comm, 1));
    if (!old) unsetenv("OMPI_MCA_hwloc_base_binding_policy");
    EXPECT(comm, !mask_changed(&before), "the mask was changed");
}

/* Alone it stays where it was; with enough cores ranks sit apart; with too few nothing happens. */
static void test_pinned_ranks_sit_apart(nt_comm *comm)
{
    cpu_set_t before;
    double users[CPU_SETSIZE];
    int n_mine, n_shared = 0;
    EXPECT(comm, sched_getaffinity(0, sizeof before, &before) == 0, "sched_getaffinity");
    int threads = nt_topology_threads(comm, 0);
    EXPECT_OK(comm, nt_topology_pin(comm, threads));
    count_users(comm, users, &n_mine);
    EXPECT(comm, n_mine >= 1, "no processor left");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        n_shared += users[cpu] > 1;
    if (!nt_comm_launched() || sysconf(_SC_NPROCESSORS_ONLN) < comm->size)
        EXPECT(comm, !mask_changed(&before), "the mask was changed");
    else if (mask_changed(&before))
        EXPECT(comm, n_shared == 0, "%d processors are shared", n_shared);
    if (threads > 1) EXPECT(comm, n_mine >= threads, "%d threads on %d processors", threads, n_mine);
    EXPECT_OK(comm, nt_topology_pin(comm, threads)); /* again is harmless */
}

int main(void)
{
    static const parallel_test tests[] = {
        {"threads", test_threads},
        {"srun_binding", test_srun_binding},
        {"bind_to_none_is_respected", test_bind_to_none_is_respected},
        {"pinned_ranks_sit_apart", test_pinned_ranks_sit_apart},
    };
    return parallel_main(tests, (int)(sizeof tests / sizeof tests[0]));
}
