#!/usr/bin/env bash
# What stands in a run folder, or in the place of an output, and is not what it should be: said, never waited for, never
# lost without a word.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
expect 0 nntrain cfg.ini

# A FIFO for a log would wait for a reader.
rm run/train.log && mkfifo run/train.log
expect 73 timeout 20 "$binary" cfg.ini run.epochs=2 >out 2>err
says "log file 'run/train.log'"
rm run/train.log

# Rows that a spreadsheet has written are set aside; the rest goes on.
sed 's/$/\r/' run/metrics.csv >crlf && cp crlf run/metrics.csv
expect 0 nntrain cfg.ini run.epochs=2
says_once "warning: 'run/metrics.csv' holds lines that no run has written; it is kept as 'run/metrics.csv.old'"
cmp -s crlf run/metrics.csv.old || fail "the rows are lost"
grep -q '^32,2,valid' run/metrics.csv || fail "no rows after the resume"
sed 's/$/\r/' run/metrics.csv >crlf_again && cp crlf_again run/metrics.csv
expect 0 nntrain cfg.ini run.epochs=3
says_once "it is kept as 'run/metrics.csv.old.1'"
cmp -s crlf run/metrics.csv.old || fail "the rows of the first time are lost"
cmp -s crlf_again run/metrics.csv.old.1 || fail "the rows of the second time are lost"

# Choices of algorithms that are none.
rm -r run/checkpoints
for text in garbage "$(head -n 1 run/tuning.txt | cut -d' ' -f1,2)
no choice"; do
    rm -rf run/checkpoints
    printf '%s\n' "$text" >run/tuning.txt
    expect 0 nntrain cfg.ini run.epochs=1 run.output=run
    says_once "warning: 'run/tuning.txt'.*: the algorithms are chosen anew"
done

# Outputs: a folder, the input, a name that promises another format, no name.
awk 'BEGIN { for (i = 0; i < 8; i++) { for (j = 0; j < 36; j++) printf "%d,", i + j; print i } }' >rows.csv
expect 0 nntrain import csv rows.csv in.h5 --shape 1x6x6
mkdir folder
for output in 'folder.h5 --force' 'in.h5 --force'; do
    mkdir -p folder.h5
    # shellcheck disable=SC2086
    expect 73 nntrain predict cfg.ini in.h5 $output
done
says 'would be written over'
expect 0 nntrain inspect in.h5
expect 2 nntrain predict cfg.ini in.h5 out.xlsx
says 'must end in .h5, .hdf5 or .csv'
expect 2 nntrain report run --output ''
expect 73 nntrain report run --output folder --force
says 'is a folder'
