#!/usr/bin/env bash
# run.zero = 1 over NCCL, and through host memory where there is none: the run without it, but for the order of sums.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 1
sed -i 's/^schedule = .*/schedule = constant/; s/^threads = .*/&\ndevice = cuda/' cfg.ini
expect 0 ranks 2 cfg.ini run.output=whole
expect 0 ranks 2 cfg.ini run.output=shards run.zero=1
says '1 of 2 shards'
close_losses whole shards 1e-5
sed 's/^momentum.*/type = adam\nclip_norm = 1/; s/^lr = .*/lr = 0.001/' cfg.ini >adam.ini
expect 0 ranks 3 adam.ini run.output=whole3
expect 0 ranks 3 adam.ini run.output=shards3 run.zero=1 run.cuda_graph=yes
close_losses whole3 shards3 1e-4
# On the host, and back on the device.
expect 0 ranks 2 cfg.ini run.output=shards run.zero=1 run.epochs=2 run.device=cpu
says 'made on backend cuda, this run is on cpu'
expect 0 ranks 2 cfg.ini run.output=shards run.zero=1 run.epochs=3
says 'made on backend cpu, this run is on cuda'
