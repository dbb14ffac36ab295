#!/usr/bin/env bash
# Faults 72, 76 and 81 as seen from the command line: names of runs, mistakes in words, too many words.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1

for name in '../up' 'a/b' '-x' ';rm' '$(touch pwned)' 'a b' '.hidden' "$(printf 'n%.0s' $(seq 65))"; do
    expect 78 nntrain cfg.ini "run.name=$name"
done
[ ! -e pwned ] || fail "a name was executed"
expect 0 nntrain cfg.ini "run.name=$(printf 'n%.0s' $(seq 64))"

expect 2 nntrain
expect 2 nntrain ''
expect 2 nntrain cfg.ini ''
expect 2 nntrain train
expect 2 nntrain tran cfg.ini
says "did you mean 'train'"
expect 2 nntrain inspcet rows.h5
says "did you mean 'inspect'"
expect 2 nntrain cfg.ini --jason
says 'jason'
does_not_say 'did you mean'
expect 2 nntrain cfg.ini epochs=3
says "'epochs=3' is not understood here: did you mean run.epochs=3?"
expect 2 nntrain cfg.ini run.epochs 3
says 'did you mean run.epochs=VALUE?'
expect 2 nntrain cfg.ini --lr=0.1
says 'did you mean optimizer.lr=0.1?'
expect 2 nntrain bench cfg.ini --steps
expect 2 nntrain bench cfg.ini --steps=many
expect 2 nntrain bench cfg.ini --steps=-1
expect 2 nntrain cfg.ini another.ini
for words in 'train a' 'check a' 'bench a' 'eval a b' 'predict a b c' 'inspect a' 'export a b' 'report a' 'help a'; do
    # shellcheck disable=SC2086
    expect 2 nntrain $words more
    says usage
done
expect 2 nntrain help nothing
expect 78 nntrain cfg.ini optimizer.lrr=0.1
says "did you mean.*lr"
expect 78 nntrain cfg.ini optimizr.lr=0.1
expect 78 nntrain cfg.ini run.epochs=1e3
expect 66 nntrain missing.ini
sed '/^\[layer/,/^\[opt/{/^\[opt/!d}' cfg.ini >none.ini
expect 78 nntrain check none.ini
says '^nntrain: there are no layers: write'
expect 2 ranks 2 cfg.ini --jason
says_once 'nntrain: .*jason'
expect 78 ranks 2 cfg.ini optimizer.lrr=0.1
says_once 'nntrain: .*lrr'

seq 100000 | sed 's/.*/run.seed=&/' | xargs -s 2000000 -n 100000 "$binary" check cfg.ini >out 2>err
[ $? -lt 124 ] || fail "100000 overrides: it crashed"
seq 100000 | xargs -s 2000000 -n 100000 "$binary" cfg.ini >out 2>err
says 'not understood'
expect 0 nntrain cfg.ini -- run.output=dashes
expect 0 nntrain -- cfg.ini run.output=dashes2
