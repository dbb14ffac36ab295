#!/usr/bin/env bash
# precision = bf16 (by rounding, on the cpu and ref) and wire = bf16: they train to the same end but for a little,
# are refused in a run that was begun otherwise, and stop and go on to the same bits.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cat >digits.ini <<END
[run]
output = run
epochs = 3
threads = 1
log_every = 1
autotune = no
[data]
file = $source_dir/datasets/digits.h5
train = /train
valid = /test
batch = 64
[layer conv]
type = conv2d
filters = 4
kernel = 3
stride = 2
padding = 1
batchnorm = yes
activation = relu
[layer flat]
type = flatten
[layer fc]
type = linear
units = 10
[optimizer]
lr = 0.1
momentum = 0.9
[checkpoint]
every = 10 steps
END

# losses_within A B BOUND: the losses of all steps, absolutely.
losses_within() {
    local rows
    rows=$(wc -l <"$1/metrics.csv")
    [ "$rows" -gt 20 ] || fail "too few rows in $1"
    [ "$rows" = "$(wc -l <"$2/metrics.csv")" ] || fail "rows of $1 and $2"
    paste -d, "$1/metrics.csv" "$2/metrics.csv" | awk -F, -v bound="$3" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == "loss") at[++n] = i }
        NR > 1 { d = $at[1] - $at[2]; if (d < 0) d = -d; if (d > most) most = d }
        END { print most > "/dev/stderr"; exit !(n == 2 && most <= bound) }' 2>most ||
        fail "losses of $1 and $2 differ by $(cat most), more than $3"
}

# A rounding is at most 2^-9 of a value, of losses that begin at 2.3; cpu and ref part where sums in another order fall
# on two sides of a tie. What training makes of either in 69 steps is three times less than these bounds (0.02, 0.01).
expect 0 nntrain digits.ini run.output=float run.device=cpu
expect 0 nntrain digits.ini run.output=cpu run.device=cpu run.precision=bf16
expect 0 nntrain digits.ini run.output=ref run.device=ref run.precision=bf16
losses_within float cpu 0.06
losses_within cpu ref 0.03
[ "$(digest_of float)" != "$(digest_of cpu)" ] || fail "precision = bf16 changes nothing"

# float32 is more than tf32 asks for.
expect 0 nntrain digits.ini run.output=tf32 run.device=cpu run.precision=tf32
says 'tf32: the processor computes in float32'
same_run float tf32

# Killed and resumed: the same bits. Another precision or wire is another run; waiting for kernels is not.
NNTRAIN_FAULT="point=run.step,kind=kill,step=25" expect 137 nntrain digits.ini run.device=cpu run.precision=bf16
expect 78 nntrain digits.ini run.device=cpu
says "run.precision: 'bf16' -> 'fp32'"
expect 78 nntrain digits.ini run.device=cpu run.precision=bf16 run.wire=bf16
says "run.wire: 'fp32' -> 'bf16'"
expect 0 nntrain digits.ini run.device=cpu run.precision=bf16 run.debug_sync=yes run.cuda_graph=no
says 'going on from checkpoint'
same_run cpu run

# On the wire: every rank has the same sums (replicas are compared), near those in float32 (0.04 seen, three times that).
expect 0 ranks 2 digits.ini run.output=float2 run.device=cpu
expect 0 ranks 2 digits.ini run.output=wire run.device=cpu run.wire=bf16 run.check_replicas=1
losses_within float2 wire 0.12
[ "$(digest_of float2)" != "$(digest_of wire)" ] || fail "wire = bf16 changes nothing"
expect 0 ranks 2 digits.ini run.output=wire_again run.device=cpu run.wire=bf16
same_run wire wire_again
