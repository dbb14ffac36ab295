#!/usr/bin/env bash
# Fault 89: closed, full and broken outputs never stop a training run, nor end up in its files; other commands, whose
# output is their result, fail with 74.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
expect 0 nntrain cfg.ini run.output=whole

"$binary" cfg.ini run.output=closed <&- >&- 2>&- || fail "all streams closed: code $?"
same_run whole closed
latest_is_sound closed
"$binary" cfg.ini run.output=full >/dev/full 2>/dev/full || fail "full streams: code $?"
same_run whole full
[ "$(grep -c 'could not be written' full/train.log)" = 1 ] || fail "the loss of log lines was not said once"
"$binary" cfg.ini run.output=broken 2>&1 >/dev/null | true
[ "${PIPESTATUS[0]}" = 0 ] || fail "broken pipe: code ${PIPESTATUS[0]}"
same_run whole broken
timeout $patience mpirun -np 2 "$binary" cfg.ini run.output=full_2 >/dev/full 2>&1 || fail "full output of mpirun: code $?"

# The metrics' disk is full: rows are lost, the run is not. (/dev/full is not a regular file, so a limit does it.)
for command in "help config" "check cfg.ini" "eval cfg.ini run.output=whole"; do
    got=0
    # shellcheck disable=SC2086
    "$binary" $command >/dev/full 2>err || got=$?
    [ "$got" = 74 ] || fail "$command into a full file: code $got instead of 74"
done
