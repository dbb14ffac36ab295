# Shared by the scripts that build and run: where the project is, and how Open MPI runs in a container.
# Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Open MPI refuses to run as root and to start more ranks than cores, which is right on a cluster and wrong in a
# container with two cores. Only these scripts lift that, and only for what they start. (OMPI_*: Open MPI 4; PRTE_*: 5.)
allow_small_machines() {
    if [ "$(id -u)" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
}

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

# apt_install PACKAGE...: as root or by sudo, without questions.
apt_install() {
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "not root and no sudo; ask for these packages: $*"
        sudo=(sudo)
    fi
    say "installing: $*"
    "${sudo[@]}" apt-get update -qq &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# build PRESET [TARGET...]: configures, builds what has changed (everything, with the tests, where no target is named), sets
# build_dir.
build() {
    local preset=$1 log options=()
    shift
    [ $# -gt 0 ] || options=(-DNNTRAIN_TESTS=ON)
    build_dir=$root/build-$preset
    [ "$preset" = release ] && build_dir=$root/build
    log=$(mktemp)
    if ! (cd "$root" && cmake --preset "$preset" "${options[@]}" >"$log" 2>&1); then
        cat "$log" >&2
        rm -f "$log"
        die "cmake could not configure; is everything installed? See scripts/install_deps.sh"
    fi
    rm -f "$log"
    ninja -C "$build_dir" "$@" >&2
}
