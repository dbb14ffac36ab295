#!/usr/bin/env bash
# Installs what is missing, builds and runs every test.
#   scripts/test.sh [--preset release|debug|asan|ubsan|tsan] [ctest options]
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

presets="release debug asan ubsan tsan"
preset=release
if [ "${1:-}" = --preset ]; then
    [ $# -ge 2 ] || die "usage: test.sh [--preset ${presets// /|}] [ctest options]"
    preset=$2
    case " $presets " in
        *" $preset "*) ;;
        *) die "there is no preset '$preset'; there are: $presets" ;;
    esac
    shift 2
fi

"$root/scripts/install_deps.sh" --tests
build "$preset"
allow_small_machines
# Open MPI and its helpers leak by design at exit; the suppressions name them, our own leaks are still found.
export LSAN_OPTIONS=suppressions=$root/tests/lsan.supp:print_suppressions=0
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=suppressions=$root/tests/tsan.supp
cd "$build_dir"
# One test more than there are cores, up to 4: a good part of them wait most of their time.
jobs=$(($(nproc) + 1))
ctest --output-on-failure --timeout 600 --parallel $((jobs < 4 ? jobs : 4)) "$@"
