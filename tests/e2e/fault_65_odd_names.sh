#!/usr/bin/env bash
# Fault 65 and 66: odd names of files and folders work, or are refused in one clean line.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config plain.ini 1

i=0
for name in 'a b' $'new\nline' 'schön' '%s%n%d' "quo'te\"d" '$(touch pwned)' 'a.b=c' "$(printf 'x%.0s' $(seq 200))"; do
    i=$((i + 1))
    cp plain.ini "$name.ini"
    cp "$source_dir/datasets/digits.h5" "$name.h5"
    expect 0 nntrain "./$name.ini" "run.output=runs/$i"
    expect 0 nntrain inspect "./$name.h5"
    expect 0 nntrain check "./$name.ini"
    if [[ $name == *$'\n'* ]]; then # a config value is one line
        expect 78 nntrain train "./$name.ini" "run.output=runs/$name"
        continue
    fi
    expect 0 nntrain train "./$name.ini" "run.output=runs/$name"
    [ -e "runs/$name/metrics.jsonl" ] || fail "no run folder for '$name'"
    expect 0 nntrain eval "./$name.ini" "run.output=runs/$name"
    expect 0 nntrain check plain.ini "data.file=$name.h5"
done
cp plain.ini -- -x.ini
expect 0 nntrain ./-x.ini run.output=runs/dash
expect 0 nntrain train -- -x.ini run.output=runs/dash2
[ ! -e pwned ] || fail "a name was executed"

long=$(printf 'd%.0s' $(seq 250))
long=$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long
expect 66 nntrain "$long/cfg.ini"
expect_failure nntrain plain.ini "run.output=$long"
expect_failure nntrain plain.ini "data.file=$long.h5"

expect 66 nntrain .
expect 66 nntrain ./nothing.ini
mkfifo pipe.ini
expect 66 nntrain pipe.ini
expect_failure nntrain /dev/null
expect_failure nntrain /dev/zero
