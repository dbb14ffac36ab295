#!/usr/bin/env bash
# Speed of reading shuffled images from HDF5 against memcpy from the page cache; prints a table.
#   scripts/bench_loader.sh [batch [epochs]]
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build release
ninja -C "$build_dir" bench_loader >&2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$build_dir/bench_loader" "$folder" "$@"
