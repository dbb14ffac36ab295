#!/usr/bin/env bash
# run.zero = 1: the optimizer's state in shards. Between two ranks sums have the same bits in whatever order they are made,
# so runs with and without are the same run, to the last bit; their checkpoints hold the same, and either goes on from
# either.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
sed -i 's/^schedule = .*/schedule = constant/' cfg.ini

# What is in the last checkpoint of a run: names, shapes, values, digest.
contents() {
    expect 0 nntrain inspect "$1/checkpoints/$(cat "$1/checkpoints/latest")"
    sed 's/config [0-9a-f]*$//' out
}

expect 0 ranks 2 cfg.ini run.output=sgd
expect 0 ranks 2 cfg.ini run.output=sgd1 run.zero=1
same_run sgd sgd1

# Two moments, pieces, many buckets, an average of the weights: whole, in shards, and from one to the other in the middle.
sed -i 's/^momentum.*/type = adamw/; s/^lr = .*/lr = 0.001/; s/^threads.*/&\naccumulate = 2\nbucket_mb = 0.001/' cfg.ini
printf '[average]\nema = 0.9\nweights = ema\n' >>cfg.ini
expect 0 ranks 2 cfg.ini run.output=whole
expect 0 ranks 2 cfg.ini run.output=shards run.zero=1
says 'optimizer .* (1 of 2 shards of .* saved)'
same_run whole shards
contents whole >whole.txt
contents shards >shards.txt
diff whole.txt shards.txt >out || fail "checkpoints differ"
expect 0 ranks 2 cfg.ini run.output=there run.epochs=1
expect 0 ranks 2 cfg.ini run.output=there run.zero=1
says 'going on from checkpoint .* after step 16'
same_run whole there
expect 0 ranks 2 cfg.ini run.output=back run.epochs=1 run.zero=1
expect 0 ranks 2 cfg.ini run.output=back
same_run whole back

# Another number of ranks takes its own shards of it; one rank has one shard, which is all.
expect 0 ranks 3 cfg.ini run.output=shards run.epochs=3 run.zero=1 run.debug_sync=yes
says 'made by 2 ranks, this run has 3'
expect 0 nntrain cfg.ini run.output=alone run.zero=1 run.epochs=1
does_not_say 'shards'

# `check` and `eval`; mistakes.
expect 0 nntrain check cfg.ini --ranks 4 run.zero=1 run.output=fresh
says 'optimizer .* (1 of 4 shards of '
expect 0 ranks 2 check cfg.ini run.zero=1 run.output=whole
says 'would go on from checkpoint'
expect 0 ranks 2 eval cfg.ini run.output=whole run.zero=1
expect 78 nntrain cfg.ini run.zero=2
says 'zero'
expect 78 nntrain cfg.ini run.zero=yes
expect 78 nntrain cfg.ini run.zero=1 run.wire=bf16
says_once 'run.zero = 1 and run.wire = bf16 exclude each other'
