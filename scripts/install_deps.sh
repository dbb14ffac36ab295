#!/usr/bin/env bash
# Installs what is missing to build and run nntrain on Debian 12, Debian 13 and Ubuntu 24.04, by apt.
#   scripts/install_deps.sh [--tests]     --tests: also what the tests need
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(gcc g++ cmake ninja-build pkg-config openmpi-bin libopenmpi-dev libhdf5-dev libdnnl-dev zlib1g-dev
    libxxhash-dev libjansson-dev libpng-dev libturbojpeg0-dev)
test_packages=(libcmocka-dev libinih-dev librandom123-dev)

case ${1:-} in
    --tests) packages+=("${test_packages[@]}") ;;
    '') ;;
    *) die "usage: install_deps.sh [--tests]" ;;
esac

command -v apt-get >/dev/null || die "this system has no apt; install these yourself: ${packages[*]}"

# install_missing PACKAGE...
install_missing() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}
install_missing "${packages[@]}"

# libFuzzer comes in a package that carries clang's version. Without it tests/fuzz is skipped, nothing else.
if [ "${1:-}" = --tests ]; then
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
    [ -z "$version" ] || install_missing clang "libclang-rt-$version-dev" ||
        say "no libFuzzer: the readers will not be fuzzed"
fi
