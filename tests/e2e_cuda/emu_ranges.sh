#!/usr/bin/env bash
# The ranges that a profiler sees: a step holds data, h2d within forward, forward, backward, one allreduce[k] for each
# bucket, update and checkpoint; every range that is opened is closed, in order; a step's ranges lie in its step.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
NT_EMU_NVTX=$work/log expect 0 nntrain cfg.ini run.device=cuda run.output=alone run.cuda_graph=no
NT_EMU_NVTX=$work/logs.%p expect 0 ranks 2 cfg.ini run.device=cuda run.output=pair run.cuda_graph=no run.bucket_mb=0.001

# well_nested FILE: pops match pushes; text of inner ranges as "step N/name".
well_nested() {
    awk '$3 == "push" { text = $6; for (i = 7; i <= NF; i++) text = text " " $i
                        stack[++depth] = text
                        if (stack[1] ~ /^step [0-9]+$/) print stack[1] "/" (depth > 1 ? stack[depth] : "") }
         $3 == "pop" { if (depth-- == 0) { print "a pop too many at line " NR; exit 1 } }
         END { if (depth > 2) { print depth " ranges are open"; exit 1 } }' "$1"
}
well_nested log >ranges || fail "$(tail -n 1 ranges)"
for name in 'step 1/data' 'step 1/forward' 'step 1/h2d' 'step 1/backward' 'step 1/update' 'step 16/update' 'step 7/checkpoint'; do
    grep -qx "$name" ranges || fail "there is no range $name"
done
for step in 1 10; do
    [ "$(grep -c "^step $step/h2d$" ranges)" = 2 ] || fail "step $step does not send x and target"
done

for file in logs.*; do
    well_nested "$file" >ranges || fail "$(tail -n 1 ranges)"
    grep -qx 'step 1/allreduce\[0\]' ranges || fail "there is no range of a reduction"
    grep -qx 'step 1/allreduce\[1\]' ranges || fail "there is no range of a second reduction"
done
