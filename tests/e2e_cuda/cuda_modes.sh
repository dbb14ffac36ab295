#!/usr/bin/env bash
# What changes how a step is given to the device changes no bit of it: recorded as a graph or kernel by kernel, or with a
# wait after every kernel. Reduced precision trains as well as float32 does.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
expect 0 nntrain cfg.ini run.device=cuda run.output=graph run.cuda_graph=auto
does_not_say 'kernel by kernel'
expect 0 nntrain cfg.ini run.device=cuda run.output=plain run.cuda_graph=no
same_run graph plain
expect 0 nntrain cfg.ini run.device=cuda run.output=debug run.debug_sync=yes
same_run graph debug

# 8 bits of mantissa: 2^-9 relative in every activation; over a few layers and steps the loss stays within 2 %. tf32 has
# 10 bits in products alone.
expect 0 nntrain cfg.ini run.device=cuda run.output=bf16 run.precision=bf16
close_losses graph bf16 2e-2
expect 0 nntrain cfg.ini run.device=cuda run.output=tf32 run.precision=tf32
close_losses graph tf32 1e-2
