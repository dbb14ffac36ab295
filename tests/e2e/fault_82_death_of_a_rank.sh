#!/usr/bin/env bash
# Fault 82: a rank dies (first argument: kill, segv, abort, exit0) in set-up, data, step, checkpoint, as the first or the
# last of two: the job ends, soon, and never with success. (mpirun takes a second or two to end the others, so the two
# jobs of a point run side by side.)
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
kind=${1:-kill}
small_config cfg.ini 2

# death POINT RANK: its own exit code is 0 if all is as it should be.
death() {
    local point=$1 rank=$2 got=0 began=$SECONDS
    export NNTRAIN_FAULT="point=$point,kind=$kind,rank=$rank"
    timeout -k 5 $patience mpirun -np 2 "$binary" cfg.ini "run.output=$point.$rank" >"err.$rank" 2>&1 || got=$?
    [ "$got" != 0 ] && [ $((SECONDS - began)) -le "$(promised 30)" ] && grep -q "fault point $point, rank $rank: $kind" "err.$rank" &&
        return 0
    echo "$point, rank $rank: exit code $got after $((SECONDS - began)) s"
    tail -n 10 "err.$rank"
    return 1
}

for point in run.init run.data_open run.data run.step run.checkpoint; do
    death "$point" 0 &
    first=$!
    death "$point" 1 &
    wait "$first" || fail "see above"
    wait "$!" || fail "see above"
done
