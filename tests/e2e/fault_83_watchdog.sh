#!/usr/bin/env bash
# Faults 83, 85, 86 and 95: a rank that stands still is named and the job ended with 82; one whose weights differ, with 81.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2

# In memory where there is /dev/shm, and with 3 s at the point where the other rank writes a checkpoint: a disk that takes
# more than a second for an fsync would else be the first thing that makes no progress.
output=run
[ -w /dev/shm ] && output=$(mktemp -d /dev/shm/nntrain_e2e.XXXXXX) && trap 'end_jobs; rm -rf "$work" "$output"' EXIT

for point in run.data_open run.data step.backward run.checkpoint; do
    for kind in hang stop; do
        [ "$kind" = stop ] && [ "$point" != run.data ] && continue
        export NNTRAIN_FAULT="point=$point,kind=$kind,rank=1,hit=2"
        [ "$point" = run.data_open ] && NNTRAIN_FAULT="point=$point,kind=$kind,rank=1"
        limit=1
        [ "$point" = run.checkpoint ] && limit=3
        rm -rf "$output/run"
        began=$SECONDS
        expect 82 ranks 2 cfg.ini run.watchdog=$limit "run.output=$output/run"
        [ $((SECONDS - began)) -le "$(promised 15)" ] || fail "the watchdog took $((SECONDS - began)) s"
        says 'no progress for'
        # the culprit speaks if it can; a stopped process cannot
        [ "$kind" = stop ] || says 'nntrain: rank 1 on .*: no progress'
        [ "$kind" = hang ] || says 'nntrain: rank 0 on .*waiting for another rank'
    done
done

for rank in 1 2; do
    export NNTRAIN_FAULT="point=replicas.flip,kind=error,rank=$rank,hit=3"
    rm -rf run
    expect 81 ranks 3 cfg.ini run.check_replicas=2
    says_once "^nntrain: .*fc.bias of rank $rank is not that of rank 0\|^nntrain: .*fc.weight of rank $rank is not that of rank 0"
done
