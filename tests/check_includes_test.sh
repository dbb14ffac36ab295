#!/usr/bin/env bash
# Does check_includes.sh fail when it should? Plants one violation after another in a small tree and expects
# each to be found at its line; and harmless look-alikes, which must not be found.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failures=0

# A clean tree: a few real files.
mkdir -p "$copy"/{core/layers,core/backends/ref,datasets,dist,launcher}
for file in core/{log,rng,tensor}.c core/net.h datasets/sampler.c dist/{comm,comm_mpi,step}.c dist/step.h launcher/main.c; do
    cp "$root/$file" "$copy/$file"
done

plant() { # FILE TEXT WORDS: the text in a new line of the file must be complained about in these words
    local file=$1 text=$2 words=$3 output line
    mkdir -p "$copy/${file%/*}"
    [[ -e $copy/$file ]] && cp "$copy/$file" "$copy/saved"
    printf '%s\n' "$text" >>"$copy/$file"
    line=$(wc -l <"$copy/$file")
    if output=$("$root/tests/check_includes.sh" "$copy" 2>&1); then
        echo "not found: '$text' in $file"
        failures=$((failures + 1))
    elif [[ $output != *"$file:$line: "*"$words"* ]]; then
        echo "'$text' in $file: wrong complaint: $output"
        failures=$((failures + 1))
    fi
    rm "$copy/$file"
    if [[ -e $copy/saved ]]; then mv "$copy/saved" "$copy/$file"; fi
}

harmless() { # FILE TEXT
    cp "$copy/$1" "$copy/saved"
    printf '%s\n' "$2" >>"$copy/$1"
    if ! "$root/tests/check_includes.sh" "$copy" >/dev/null; then
        echo "wrongly found: '$2' in $1"
        failures=$((failures + 1))
    fi
    mv "$copy/saved" "$copy/$1"
}

"$root/tests/check_includes.sh" "$copy" >/dev/null || {
    echo "the clean tree has violations"
    exit 1
}
plant core/tensor.c '#include "dist/comm.h"' "core must not include 'dist/comm.h'"
plant core/layers/planted.h '#  include "launcher/console.h"' "core must not include"
plant core/tensor.c '#include "datasets/dataset.h"' "core must not include"
plant datasets/sampler.c '#include "dist/comm.h"' "datasets must not include"
plant dist/comm.c '#include "datasets/dataset.h"' "dist must not include"
plant dist/step.h '#include "launcher/console.h"' "dist must not include"
plant dist/step.c '#include "../core/net.h"' "from the root"
plant dist/step.c '#include "net.h"' "not in the folder"
plant dist/step.c '#include <mpi.h>' "<mpi.h> is not allowed"
plant core/rng.c 'int x = MPI_Init(0, 0);' "core knows no MPI"
plant dist/bucket.c '#include <nccl.h>' "<nccl.h> is not allowed"
plant datasets/hdf5.c '#include <hdf5.h>' "<hdf5.h> is not allowed"
plant core/checkpoint.c '#include <H5Fpublic.h>' "<H5Fpublic.h> is not allowed"
plant core/model.c '#include <oneapi/dnnl/dnnl.h>' "is not allowed"
plant core/backends/ref/ref.c '#include <dnnl.h>' "<dnnl.h> is not allowed"
plant core/backend.c '#include <cuda_runtime.h>' "<cuda_runtime.h> is not allowed"
plant dist/comm_mpi.c '#include <cuda.h>' "<cuda.h> is not allowed"
plant core/backends/cuda/op_planted.c '#include <cuda_runtime.h>' "<cuda_runtime.h> is not allowed"
plant core/backends/cuda/planted.cu '#include <cublas_v2.h>' "<cublas_v2.h> is not allowed"
plant dist/step.c '#include <nvtx3/nvToolsExt.h>' "<nvtx3/nvToolsExt.h> is not allowed"
plant core/log.c '#include <assert.h>' "<assert.h> is not allowed"
plant core/log.c 'static void f(void) { assert(1); }' "no assert"
plant datasets/sampler.c 'static void f(void) { exit(1); }' "only launcher/main.c"
plant launcher/planted.c 'static void f(void) { abort (); }' "only launcher/main.c"
plant core/log.c 'static void f(void) { if (1) _exit(3); }' "only launcher/main.c"
harmless core/log.c '/* exit(1) and #include <mpi.h> in words; MPI_Init too */'
harmless core/log.c 'static const char *const words = "exit(1) \" assert(0)"; // abort()'
harmless dist/comm.c 'static void f(nt_comm *comm) { comm->ops->abort(comm, 1); nt_comm_abort(comm, 1); }'
harmless dist/comm_mpi.c '#include <mpi.h>'
harmless launcher/main.c 'static void f(void) { exit(1); }'
((failures == 0)) || exit 1
echo "all planted violations were found"
