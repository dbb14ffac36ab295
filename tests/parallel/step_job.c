/* A job of nine steps, with an end as launcher/main.c makes it: the victim of faults.sh.
 *
 *   step_job [abort|skip]     NaN policy
 *   step_job leave            the last rank calls exit(0) in the middle, as a library might
 *
 * Prints per rank the digest of its weights and how many steps were skipped. An error that all ranks share
 * (NT_ERR_NAN) ends the job cleanly with its code; an error of one rank ends it with nt_comm_abort. */
#include "toy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static toy job;

static nt_status run_job(nt_comm *comm, const char *mode, int *skipped)
{
    nt_nan_policy policy = strcmp(mode, "skip") == 0 ? NT_NAN_SKIP : NT_NAN_ABORT;
    bool leaves = strcmp(mode, "leave") == 0 && comm->rank == comm->size - 1;
    toy_options options = {
        .backend = "ref", .pieces = 2, .nan_policy = policy, .nan_sample = -1, .bucket_mb = 0.001};
    NT_TRY(nt_comm_agree(comm, toy_create(&job, comm, &options)));
    for (int64_t step = 0; step < 3 * TOY_BATCHES; step++) {
        nt_step_result result;
        double loss;
        if (leaves && step == 4) exit(0);
        NT_TRY(toy_step(&job, step, &result, &loss));
        *skipped += result.skipped;
    }
    return NT_OK;
}

static void print_result(const nt_comm *comm, nt_status status, int skipped)
{
    size_t n_bytes = (size_t)nt_net_n_elems(job.net) * sizeof(float);
    if (status == NT_OK)
        dprintf(STDOUT_FILENO, "rank %d: weights %016llx, skipped %d\n", comm->rank,
                (unsigned long long)XXH3_64bits(nt_net_params(job.net), n_bytes), skipped);
    else
        dprintf(STDERR_FILENO, "rank %d: %s\n", comm->rank, nt_error_last()->message);
}

int main(int argc, char **argv)
{
    nt_comm *comm;
    int skipped = 0;
    if (nt_comm_create(&comm) != NT_OK) {
        dprintf(STDERR_FILENO, "%s\n", nt_error_last()->message);
        return nt_error_last()->status;
    }
    nt_status status = run_job(comm, argc > 1 ? argv[1] : "abort", &skipped);
    print_result(comm, status, skipped);
    if (status != NT_OK && status != NT_ERR_NAN) nt_comm_abort(comm, status);
    toy_destroy(&job);
    nt_comm_destroy(comm);
    return status;
}
