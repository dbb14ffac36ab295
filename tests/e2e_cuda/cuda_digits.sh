#!/usr/bin/env bash
# Acceptance 2: the digits that ship with the project, the first steps with device = cuda and with ref: the same losses
# to 1e-4. On a real GPU the whole run, and its accuracy.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
example=$source_dir/launcher/examples/digits.ini data=$source_dir/datasets/digits.h5
expect 0 nntrain "$example" "data.file=$data" run.steps=4 run.log_every=1 data.batch=16 data.valid_limit=32 run.device=ref run.output=ref
expect 0 nntrain "$example" "data.file=$data" run.steps=4 run.log_every=1 data.batch=16 data.valid_limit=32 run.device=cuda run.output=cuda
close_losses ref cuda 1e-4 4
[ -n "${NT_EMU_DEVICES:-}" ] && exit 0
expect 0 nntrain "$example" "data.file=$data" run.device=cuda run.output=whole
says 'valid accuracy 0\.9[5-9]'
