#!/usr/bin/env bash
# Benchmarks nntrain against PyTorch on this machine, one thread a rank, at 1 and 2 ranks; writes build/bench.md and build/bench.csv.
#   scripts/bench.sh [--rounds N] [--models mlp,lenet5,resnet18] [--ranks 1,2]   (--help names the other models)
# PyTorch comes from pip into build/bench-venv, or from apt (python3-torch) where there is no pip.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/install_deps.sh"
build release nntrain
allow_small_machines

# find_python: sets python to an interpreter that has torch.
find_python() {
    local venv=$root/build/bench-venv
    python=${NNTRAIN_BENCH_PYTHON:-$venv/bin/python}
    "$python" -c 'import torch' 2>/dev/null && return
    say "installing PyTorch into $venv"
    if python3 -m venv "$venv" 2>/dev/null && "$venv/bin/pip" install -q torch numpy; then
        python=$venv/bin/python
    else
        apt_install python3-torch || die "PyTorch can be had neither from pip nor from apt"
        python=python3
    fi
}

find_python
exec "$python" "$root/scripts/bench/compare.py" --binary "$build_dir/nntrain" --out "$build_dir/bench" "$@"
