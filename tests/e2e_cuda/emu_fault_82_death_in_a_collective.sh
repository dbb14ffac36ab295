#!/usr/bin/env bash
# Fault 82 on the device: a rank is killed while the others are in a collective with it, which the device itself would
# wait for for ever. Under mpirun, which ends the others, the job fails at once. Where it leaves them alone, NCCL's
# asynchronous error tells them, and the first of them ends the job, with rank, step and phase.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i 's/^watchdog = .*/watchdog = 60/' cfg.ini # which is not what ends it

# dies NAME K RANK OPTIONS: RANK of three dies while the K-th collective is under way. The time it took, the exit code.
dies() {
    local name=$1 k=$2 rank=$3 pid ranks began got=0
    shift 3
    NT_EMU_NCCL_HANG=$k@$rank timeout -k 5 $patience mpirun "$@" -np 3 "$binary" cfg.ini run.device=cuda "run.output=$name" \
        <&- >"$name.out" 2>"$name.err" &
    pid=$!
    wait_for grep -qs 'hangs on rank' "$name.err"
    # shellcheck disable=SC2207
    ranks=($(children_of "$(children_of "$pid" | tr -d ' ')"))
    began=$SECONDS
    kill -KILL "${ranks[$rank]}"
    wait "$pid" || got=$?
    echo "$got $((SECONDS - began))" >"$name.end"
}

dies plain 9 1 &
jobs[plain]=$!
dies first 20 0 &
jobs[first]=$!
if mpirun --version | grep -q 'Open MPI) 4'; then
    dies alone 30 2 --enable-recovery &
    jobs[alone]=$!
    ended alone 0 15 # mpirun's own word, when it is told not to mind
    says_once '^nntrain: rank 0 on .*, step [0-9]*, waiting for the device: NCCL: a sum over the ranks cannot be completed'
    says 'rank 2 (process [0-9]*) has ended'
    does_not_say 'nntrain: rank 1'
fi
ended plain 137 15
ended first 137 15
