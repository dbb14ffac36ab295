#!/usr/bin/env bash
# Lets one rank of a job die, or go wrong, in each phase, and looks at the whole job: it must end, soon, and
# not look like success.
#
#   faults.sh MPIRUN STEP_JOB RANKS
set -uo pipefail
mpirun=$1 job=$2 ranks=$3
last=$((ranks - 1))
output=$(mktemp)
trap 'rm -f "$output"' EXIT
failures=0

run_job() { # FAULT ARGS...: the job's output and exit code; 124 if it hangs
    local init=20 # seconds that ranks wait in MPI_Init; on a busy machine two are too few for a job that is well
    [[ $1 == *comm.init* ]] && init=2 # for one that has left
    NNTRAIN_INIT_TIMEOUT=$init NNTRAIN_FAULT=$1 timeout -k 5 120 "$mpirun" -n "$ranks" "$job" "${@:2}" >"$output" 2>&1
    code=$?
}

fail() {
    echo "$1 (exit code $code)"
    sed 's/^/    /' "$output"
    failures=$((failures + 1))
}

kill_at() { # POINT KIND
    local rank
    for rank in 0 $last; do
        run_job "point=$1,kind=$2,rank=$rank"
        ((code != 0)) || fail "rank $rank, $2 at $1: looks like success"
        ((code != 124)) || fail "rank $rank, $2 at $1: the job hangs"
    done
}

fault_82_death_of_a_rank() {
    local point
    for point in comm.init step.forward step.backward step.reduce step.update comm.finalize; do
        kill_at $point kill
        kill_at $point exit0
    done
    kill_at step.backward segv
    kill_at step.backward abort
}

# exit(0) in a library: the exit handler turns it into the end of the job.
fault_82_polite_exit_of_a_rank() {
    run_job "" leave
    ((code == 70)) || fail "exit(0) of rank $last: exit code is not 70"
    grep -q 'this rank left the job without ending it' "$output" || fail "exit(0) of rank $last: no words"
}

# An error of one rank inside a step: its code is the job's, and its words are there.
fault_82_error_of_a_rank() {
    local point
    for point in step.forward step.backward step.reduce step.update; do
        run_job "point=$point,kind=error,rank=$last,step=4"
        ((code == 69)) || fail "error at $point: exit code is not 69"
        grep -q "rank $last: fault point $point" "$output" || fail "error at $point: no words"
    done
    run_job "point=comm.init,kind=error,rank=$last"
    ((code != 0 && code != 124)) || fail "error at comm.init"
    run_job "point=comm.started,kind=error,rank=$last"
    ((code == 69)) || fail "error at comm.started: exit code is not 69"
    grep -q "fault point comm.started" "$output" || fail "error at comm.started: no words"
}

# A NaN in one rank's gradient, or only in its loss (the fault's step counts from 0, the message's from 1): all ranks stop at the same step with code 80 ...
fault_93_one_rank_is_not_finite() {
    local rank
    for rank in 0 $last; do
        run_job "point=step.backward,kind=nan,rank=$rank,step=4" abort
        ((code == 80)) || fail "NaN in the gradient of rank $rank"
        (($(grep -c 'step 5: the gradient of out.weight is not finite' "$output") == ranks)) ||
            fail "NaN in the gradient of rank $rank: not all ranks say so"
        run_job "point=step.forward,kind=nan,rank=$rank,step=4" abort
        ((code == 80)) || fail "NaN in the loss of rank $rank"
        (($(grep -c "step 5: the loss of rank $rank is not finite" "$output") == ranks)) ||
            fail "NaN in the loss of rank $rank: not all ranks say so"
    done
}

# ... or leave out the same step and stay replicas.
fault_93_one_rank_is_skipped_by_all() {
    run_job "point=step.backward,kind=nan,rank=$last,step=4" skip
    ((code == 0)) || fail "skipping failed"
    (($(grep -c 'skipped 1$' "$output") == ranks)) || fail "not all ranks skipped"
    (($(grep -o 'weights [0-9a-f]*' "$output" | sort -u | wc -l) == 1)) || fail "replicas differ"
}

# Two processes' runs end with the same bits.
fault_96_two_runs_are_equal() {
    run_job ""
    ((code == 0)) || fail "the job without a fault"
    local first
    first=$(grep -o 'weights [0-9a-f]*' "$output" | sort -u)
    run_job ""
    [[ -n $first && $(grep -o 'weights [0-9a-f]*' "$output" | sort -u) == "$first" ]] ||
        fail "two runs end with different weights: $first"
}

for check in fault_96_two_runs_are_equal fault_93_one_rank_is_not_finite fault_93_one_rank_is_skipped_by_all \
    fault_82_error_of_a_rank fault_82_polite_exit_of_a_rank fault_82_death_of_a_rank; do
    before=$failures
    $check
    ((failures > before)) || echo "ok $check ($ranks ranks)"
done
((failures == 0))
