#!/usr/bin/env bash
# Recipes on the device: norms of tensors (LARS, LAMB), clipping by value, averages of the weights. The losses of ref to 1e-3,
# evaluations with each kind of weights among them; a run in two parts ends with the same bits; two ranks compute what one does.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i '/^schedule/d' cfg.ini
printf '[average]\nema = 0.8\nswa_start = 6 steps\nswa_every = 3 steps\n' >>cfg.ini
lamb='optimizer.type=lamb optimizer.momentum=0 optimizer.lr=0.01 optimizer.clip_value=0.05'
lars='optimizer.type=lars optimizer.trust=0.02 optimizer.weight_decay=0.001 optimizer.clip_norm=0.5'
lars="$lars optimizer.lr=1" # clipping by the norm makes the factor that the ratio has to know of

for recipe in lamb lars; do
    options=${!recipe}
    # shellcheck disable=SC2086
    for device in ref cuda; do
        expect 0 nntrain cfg.ini run.device=$device "run.output=$recipe.$device" run.steps=12 $options
        says 'with the swa weights'
    done
    close_losses "$recipe.ref" "$recipe.cuda" 1e-3 15
done
# shellcheck disable=SC2086
expect 0 nntrain cfg.ini run.device=cuda run.output=parts run.steps=7 $lamb
# shellcheck disable=SC2086
expect 0 nntrain cfg.ini run.device=cuda run.output=parts run.steps=12 $lamb
says 'after step 7'
[ "$(digest_of parts)" = "$(digest_of lamb.cuda)" ] || fail "a resumed run makes other averages"

# Rules without norms: one step of each is on the device what it is on ref.
for options in 'rmsprop optimizer.centered=yes' 'adagrad optimizer.momentum=0' 'lion optimizer.momentum=0'; do
    # shellcheck disable=SC2086
    for device in ref cuda; do
        expect 0 nntrain cfg.ini run.device=$device "run.output=${options%% *}.$device" run.steps=8 optimizer.lr=0.001 optimizer.type=$options
    done
    close_losses "${options%% *}.ref" "${options%% *}.cuda" 1e-3 10
done

[ "$gpus" -ge 2 ] || exit 0
sed -i 's/^batchnorm.*//; s/^rate.*/rate = 0/' cfg.ini # what depends on the number of ranks
for n in 1 2; do
    # shellcheck disable=SC2086
    expect 0 on $n cfg.ini run.device=cuda "run.output=ranks$n" run.steps=12 $lamb
done
close_losses ranks1 ranks2 1e-3 15
# shellcheck disable=SC2086
expect 0 on 2 cfg.ini run.device=cuda run.output=shards run.steps=12 run.zero=1 $lamb
close_losses ranks1 shards 1e-3 15
