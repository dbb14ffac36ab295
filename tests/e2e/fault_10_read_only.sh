#!/usr/bin/env bash
# Fault 10 and 11: a run folder that cannot be written is refused before anything is trained.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini

expect 73 nntrain cfg.ini run.output=/proc/nntrain_run
says '/proc/nntrain_run'
does_not_say 'step 1/'
expect 73 ranks 2 cfg.ini run.output=/proc/nntrain_run
says_once 'nntrain: .*/proc/nntrain_run'
if [ "$(id -u)" != 0 ]; then
    mkdir closed && chmod 555 closed
    expect 73 nntrain cfg.ini run.output=closed/run
    expect 73 nntrain cfg.ini run.output=closed
fi
touch file
expect 73 nntrain cfg.ini run.output=file
expect 73 nntrain cfg.ini run.output=file/run
mkdir linked && ln -s /nonexistent linked/checkpoints
expect 73 nntrain cfg.ini run.output=linked
mkdir fifo && mkfifo fifo/checkpoints
expect 73 nntrain cfg.ini run.output=fifo
[ ! -e fifo/lock ] || fail "the lock was left behind"
