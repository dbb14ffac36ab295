/* Which cores belong to this rank.
 *
 * The difficulty is to know who set the affinity mask that this process finds. mpirun binds each rank to one
 * core by default: nobody asked for that, it would leave a rank of many threads on one core, and the cores
 * that the job may use are those of mpirun itself (or of its daemon on this host), which is an ancestor of
 * ours. A mask that a user asked for (mpirun --bind-to, PE=n; srun --cpu-bind) is this rank's own slice and
 * is kept. A mask that nobody divided (alone, or srun without binding) is shared among the ranks of this
 * host. Widening our own mask to all cores and reading back what is left was the alternative: it would break
 * out of taskset and of SLURM without cgroups.
 *
 * A core counts once, whatever its number of hardware threads, and a CPU quota of the control group (docker
 * --cpus) counts as so many cores; with a quota nothing is pinned, because the cores belong to others too. */
#include "dist/topology.h"

#include "core/log.h"
#include "dist/machine.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CPUS CPU_SETSIZE

typedef struct places {
    cpu_set_t cpus; /* hardware threads */
    int n_users;    /* ranks of this host that share them */
    bool chosen;    /* somebody chose them for this rank */
    bool keep_off;  /* the user said not to bind */
} places;

/* A core: its hardware threads within the set, and the order of cores by socket. */
typedef struct core {
    int socket, first;
    cpu_set_t cpus;
} core;

static bool is_mpi_launcher(const char *name)
{
    static const char *const names[] = {"mpirun",  "mpiexec", "orterun", "orted",
                                        "prterun", "prted",   "prte",    "hydra_pmi_proxy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(name, names[i], 15) == 0) return true; /* the kernel keeps 15 characters */
    return false;
}

/* Name and parent of a process. /proc/PID/stat: "pid (name) state parent ..."; a name may hold blanks. */
static bool read_process(pid_t pid, char name[32], pid_t *parent)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!nt_machine_line(path, text, sizeof text)) return false;
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close || close < open) return false;
    *close = '\0';
    snprintf(name, 32, "%s", open + 1);
    int up = 0;
    if (sscanf(close + 1, " %*c %d", &up) != 1) return false;
    *parent = up;
    return true;
}

/* The mask of the mpirun (or its daemon) that started us. False if there is none among the ancestors. */
static bool launcher_mask(cpu_set_t *out)
{
    pid_t pid = getppid();
    for (int level = 0; level < 16 && pid >= 1; level++) {
        char name[32];
        pid_t parent;
        if (!read_process(pid, name, &parent)) return false;
        if (is_mpi_launcher(name)) return sched_getaffinity(pid, sizeof *out, out) == 0;
        pid = parent;
    }
    return false;
}

static bool environment_has(const char *variable, const char *word)
{
    const char *text = getenv(variable);
    return text && strstr(text, word);
}

/* Whether the mask under mpirun is what a user asked for. */
static bool chosen_by_mpirun(void)
{
    return getenv("OMPI_MCA_hwloc_base_binding_policy") || getenv("PRTE_MCA_hwloc_default_binding_policy") ||
           environment_has("OMPI_MCA_rmaps_base_mapping_policy", "PE=");
}

/* Whether srun has bound this rank. The variables of Open MPI say nothing here: started by srun, its MPI_Init
 * sets the policy to "none" in our own environment, whatever srun did. */
static bool chosen_by_srun(void)
{
    return environment_has("SLURM_CPU_BIND", "mask") || environment_has("SLURM_CPU_BIND", "map") ||
           environment_has("SLURM_CPU_BIND", "rank");
}

/* The `index`-th of the words of a list (counted around) and its length. */
static const char *list_item(const char *list, int index, size_t *length)
{
    int n_items = 1;
    for (const char *c = list; *c; c++)
        n_items += *c == ',';
    for (index %= n_items; index > 0; index--)
        list = strchr(list, ',') + 1;
    *length = strcspn(list, ",");
    return list;
}

/* How many ranks of this host srun gave the mask that it gave to us (srun --cpu-bind=sockets may). The list
 * has one mask for each task of this host, "0x3,0x3,0xc,0xc". */
static int users_of_srun_mask(const nt_comm *comm)
{
    const char *list = getenv("SLURM_CPU_BIND_LIST"), *local_id = getenv("SLURM_LOCALID");
    if (!list || !*list || !local_id || atoi(local_id) < 0) return 1;
    size_t length, other_length;
    const char *mine = list_item(list, atoi(local_id), &length);
    int n_users = 0;
    for (int i = 0; i < comm->local_size; i++) {
        const char *other = list_item(list, i, &other_length);
        n_users += other_length == length && strncmp(mine, other, length) == 0;
    }
    return n_users > 1 ? n_users : 1;
}

static bool subset(const cpu_set_t *part, const cpu_set_t *whole)
{
    cpu_set_t both;
    CPU_AND(&both, part, whole);
    return CPU_EQUAL(&both, part);
}

static void find_places_of_mpirun(places *out, const cpu_set_t *wide)
{
    bool within = subset(&out->cpus, wide), narrowed = within && !CPU_EQUAL(&out->cpus, wide);
    out->keep_off = environment_has("OMPI_MCA_hwloc_base_binding_policy", "none");
    out->chosen = chosen_by_mpirun() && narrowed && !out->keep_off;
    if (out->chosen)
        out->n_users = 1;
    else if (within)
        out->cpus = *wide;
}

static bool find_places(const nt_comm *comm, places *out)
{
    *out = (places){.n_users = comm->local_size};
    if (sched_getaffinity(0, sizeof out->cpus, &out->cpus) != 0) return false;
    cpu_set_t wide;
    if (launcher_mask(&wide)) {
        find_places_of_mpirun(out, &wide);
    } else if (chosen_by_srun()) {
        out->chosen = true;
        out->n_users = users_of_srun_mask(comm);
    } else {
        out->keep_off = environment_has("SLURM_CPU_BIND", "none");
    }
    return true;
}

static int compare_cores(const void *a, const void *b)
{
    const core *x = a, *y = b;
    return x->socket != y->socket ? (x->socket > y->socket) - (x->socket < y->socket)
                                  : (x->first > y->first) - (x->first < y->first);
}

/* The cores of a set, socket by socket; *out is malloc'ed. */
static nt_status list_cores(const cpu_set_t *set, core **out, int *n_cores)
{
    core *cores = calloc(MAX_CPUS, sizeof *cores);
    NT_CHECK_ALLOC(cores, MAX_CPUS * sizeof *cores);
    int n = 0, index_of[MAX_CPUS];
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!CPU_ISSET((size_t)cpu, set)) continue;
        int first = nt_machine_first_sibling("", cpu, set);
        if (first == cpu) {
            index_of[cpu] = n;
            cores[n++] = (core){.socket = nt_machine_socket("", cpu), .first = cpu};
        }
        CPU_SET((size_t)cpu, &cores[index_of[first]].cpus);
    }
    qsort(cores, (size_t)n, sizeof *cores, compare_cores);
    *out = cores;
    *n_cores = n;
    return NT_OK;
}

int nt_topology_threads(const nt_comm *comm, int wanted)
{
    if (wanted > 0) return wanted;
    places where;
    core *cores = NULL;
    int n_cores = 1;
    if (!find_places(comm, &where) || list_cores(&where.cpus, &cores, &n_cores) != NT_OK) {
        nt_error_clear();
        nt_warn("cannot find out which cores this process may use; taking one thread");
        return 1;
    }
    free(cores);
    int threads = n_cores / where.n_users;
    int quota = nt_machine_quota("");
    if (quota > 0 && threads > quota / comm->local_size) threads = quota / comm->local_size;
    return threads > 1 ? threads : 1;
}

/* This rank's slice: all cores are dealt out, also where that is more than the threads need, because the
 * prefetch thread likes a free one. */
static nt_status pin_to_slice(const nt_comm *comm, int threads, const core *cores, int n_cores)
{
    int64_t begin, end;
    nt_comm_part(n_cores, comm->local_rank, comm->local_size, &begin, &end);
    cpu_set_t mine;
    CPU_ZERO(&mine);
    for (int64_t i = begin; i < end; i++)
        CPU_OR(&mine, &mine, &cores[i].cpus);
    NT_CHECK(sched_setaffinity(0, sizeof mine, &mine) == 0, NT_ERR_UNAVAILABLE,
             "cannot pin this process to %lld of %d cores: %s", (long long)(end - begin), n_cores,
             strerror(errno));
    nt_debug("pinned to %lld of %d cores, from core %d", (long long)(end - begin), n_cores,
             cores[begin].first);
    if (threads > end - begin)
        nt_warn("%d threads share %lld cores: threads = auto would take as many as there are", threads,
                (long long)(end - begin));
    return NT_OK;
}

/* Why this rank is not to be pinned; NULL if it is. */
static const char *reason_not_to_pin(const places *where)
{
    if (where->chosen) return "the launcher has chosen this rank's cores";
    if (where->keep_off) return "the launcher was told to bind to nothing";
    if (nt_machine_quota("") > 0) return "a CPU quota is set, so others use the cores too";
    return NULL;
}

nt_status nt_topology_pin(const nt_comm *comm, int threads)
{
    NT_BUG_UNLESS(threads >= 1, "%d threads", threads);
    places where;
    NT_CHECK(find_places(comm, &where), NT_ERR_UNAVAILABLE, "cannot read the affinity mask: %s",
             strerror(errno));
    const char *reason = reason_not_to_pin(&where);
    if (reason) {
        nt_debug("not pinned: %s", reason);
        return NT_OK;
    }
    core *cores = NULL;
    int n_cores = 0;
    NT_TRY(list_cores(&where.cpus, &cores, &n_cores));
    nt_status status = NT_OK;
    if (n_cores < comm->local_size)
        nt_debug("not pinned: %d ranks share %d cores", comm->local_size, n_cores);
    else
        status = pin_to_slice(comm, threads, cores, n_cores);
    free(cores);
    return status;
}
