#!/usr/bin/env bash
# From a fresh clone to a trained network: installs what is missing, builds, trains the digits that ship with the project
# on two ranks, and prints the test accuracy and where the run folder is.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/install_deps.sh"
build release nntrain
allow_small_machines
cd "$root"
rm -rf runs/quickstart
mpirun -np 2 "$build_dir/nntrain" launcher/examples/digits.ini run.output=runs/quickstart
"$build_dir/nntrain" eval launcher/examples/digits.ini run.output=runs/quickstart
say "run folder: $root/runs/quickstart"
