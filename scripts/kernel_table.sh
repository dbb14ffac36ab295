#!/usr/bin/env bash
# The table of kernels in the README: what each moves and computes, what the compiler says it needs, and how long the
# memory of a device takes for it at least. Nothing here is measured.
#   scripts/kernel_table.sh            prints the table
#   scripts/kernel_table.sh --readme   puts it into README.md, between the marks
#   scripts/kernel_table.sh --readme NAME...
#                                      the same, compiling NAME.cu only and keeping what README.md says of the others
#   scripts/kernel_table.sh --check OBJECTS
#                                      whether every kernel has a line, here and in README.md: in seconds and without nvcc, by the
#                                      emulator's objects of the same sources (CTest does)
# Bytes and operations are formulas, written down below by hand beside the kernels' names; registers, shared memory and
# spills come from nvcc --resource-usage, compiled for sm_80 and sm_90: the largest of all instances (float32 and bfloat16,
# vector and scalar). A kernel that no line below knows is an error.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# file | kernel, a regular expression of its demangled name | what it is called | what for | elements | bytes an element: float32 | bfloat16 | operations
# an element. Elements of the stated shapes: act: activations of 128 x 64 x 56 x 56; img: pixels of 128 x 3 x 224 x 224; par:
# parameters, 25.6 million; cls: 128 x 1000 classes; tok: tokens of 128 x 197 x 768; att: scores of 128 x 12 x 197 x 197; -: some
# thousand numbers at most, where the launch is all that counts.
rows='
input | normalise< | normalise | samples, uint8, to activations | img | 5 | 3 | 3 (double)
activation | nt_map1< | nt_map1 | activation, forward | act | 8 | 4 | 1 (relu) to 60 (gelu)
activation | nt_map2< | nt_map2 | activation, backward | act | 12 | 6 | 2 to 60
add | add< | add | sum of two | act | 12 | 6 | 1
bias | add_bias< | add_bias | bias, relu | act | 8 | 4 | 2
bias | nt_sum_(rows|columns)< | nt_sum_rows, nt_sum_columns | gradient of a bias | act | 4 | 2 | 1
bias | put_bias_gradient | put_bias_gradient | its last sums | - | - | - | -
channel_map | scale< | scale | scale of channels, either way | act | 8 | 4 | 2
channel_map | prelu< | prelu | prelu, either way | act | 12 | 6 | 1
channel_map | nt_sum_(rows|columns)< | nt_sum_rows, nt_sum_columns | prelu: gradient of the slopes | act | 8 | 4 | 2
channel_map | put_slopes | put_slopes | its last sums | - | - | - | -
multiply | multiply< | multiply | product with gates, either way | act | 8 | 4 | 1
multiply | dot_rows< | dot_rows | gradient of the gates | act | 8 | 4 | 2
multiply | nt_map1< | nt_map1 | a head: gradient, weighted | act | 8 | 4 | 1
batchnorm | nt_sum_(rows|columns)<.*[ <]moments | nt_sum_rows, nt_sum_columns | batchnorm: statistics | act | 4 | 2 | 4
batchnorm | put_statistics | put_statistics | its constants, per channel | - | - | - | -
batchnorm | put_part< | put_part | statistics over ranks: before the sum | - | - | - | -
batchnorm | join_parts | join_parts | the same, after it | - | - | - | -
batchnorm | put_running | put_running | the same in inference | - | - | - | -
batchnorm | [ ^]apply< | apply | batchnorm: y, relu | act | 8 | 4 | 4
batchnorm | nt_sum_(rows|columns)<.*gradient_moments | nt_sum_rows, nt_sum_columns | batchnorm, backward: sums | act | 8 | 4 | 7
batchnorm | [ ^]put_gradients | put_gradients | its constants, per channel | - | - | - | -
batchnorm | put_part_gradients | put_part_gradients | over ranks: before the sum | - | - | - | -
batchnorm | put_corrections | put_corrections | the same, after it | - | - | - | -
batchnorm | apply_backward< | apply_backward | batchnorm, backward: dx | act | 12 | 6 | 8
row_norm | [ ^]forward< | forward | layer_norm, group_norm | tok | 8 | 4 | 10
row_norm | [ ^]backward< | backward | the same: dx | tok | 12 | 6 | 14
row_norm | nt_sum_(rows|columns)< | nt_sum_rows, nt_sum_columns | the same: gradients of the weights | tok | 8 | 4 | 6
row_norm | put_weights | put_weights | their last sums | - | - | - | -
local_response | [ ^]forward< | forward | local_response_norm of 5 channels: y, sums | act | 12 | 8 | 35
local_response | [ ^]backward< | backward | the same: dx | act | 16 | 10 | 160
dropout | dropout< | dropout | dropout, either way | act | 8 | 4 | 25 (integer)
dropout | drop_samples< | drop_samples | stochastic_depth, either way | act | 8 | 4 | 23 (integer)
pool | max_forward< | max_forward | max pool 2x2: y, where | act | 5.25 | 2.75 | 1
pool | max_backward< | max_backward | max pool 2x2: dx | act | 5.25 | 2.75 | 2
pool | avg_forward< | avg_forward | average pool 2x2 | act | 5 | 2.5 | 1
pool | avg_backward< | avg_backward | average pool 2x2: dx | act | 5 | 2.5 | 1
adaptive_pool | [ ^]forward< | forward | adaptive pool to a half | act | 5 | 2.5 | 1
adaptive_pool | [ ^]backward< | backward | adaptive pool: dx | act | 5 | 2.5 | 2
global_pool | mean_forward< | mean_forward | global average pool | act | 4 | 2 | 1
global_pool | mean_backward< | mean_backward | global average pool: dx | act | 4 | 2 | 1
conv | im2col< | im2col | convolution 3x3: taps to columns | act | 40 | 20 | 0
conv | col2im< | col2im | convolution 3x3: columns to dx | act | 40 | 38 | 9
conv | to_wide< | to_wide | exchange samples and channels | act | 8 | 4 | 0
conv | from_wide< | from_wide | the way back, bias | act | 8 | 4 | 1
depthwise | [ ^]forward< | forward | depthwise 3x3 | act | 8 | 4 | 18
depthwise | backward_x< | backward_x | depthwise 3x3: dx | act | 8 | 4 | 18
depthwise | backward_weight< | backward_weight | depthwise 3x3: dw | act | 8 | 4 | 18
depthwise | put_weight | put_weight | its last sums | - | - | - | -
cast | nt_map1< | nt_map1 | float32 to bfloat16 | par | 6 | - | 1
cast | copy_rows< | copy_rows | concatenation, either way | act | 8 | 4 | 0
cast | place_rows< | place_rows | half a tensor: dx | act | 6 | 3 | 0
permute | copy_runs< | copy_runs | permute: rows stay rows | tok | 8 | 4 | 0
permute | transpose< | transpose | permute: another last dimension | tok | 8 | 4 | 0
embedding | look_up< | look_up | embedding | tok | 8 | 6 | 0
embedding | make_keys | make_keys | embedding, backward: tokens and positions | - | - | - | -
embedding | sort_in_blocks | sort_in_blocks | sorting them | - | - | - | -
embedding | sort_far | sort_far | sorting them | - | - | - | -
embedding | find_stretches | find_stretches | where a token begins and ends | - | - | - | -
embedding | add_stretches< | add_stretches | gradient of the table | tok | 4 | 2 | 1 (double)
broadcast | put_rows< | put_rows | class_token | - | - | - | -
broadcast | add_loss | add_loss | losses of several heads | - | - | - | -
attention | [ ^]forward< | forward | attention: scores to probabilities | att | 8 | 6 | 8
attention | [ ^]backward< | backward | attention: gradient of the scores | att | 12 | 8 | 4
softmax | softmax_forward< | softmax_forward | softmax | cls | 8 | 4 | 8
softmax | softmax_backward< | softmax_backward | softmax: dx | cls | 12 | 6 | 4
cross_entropy | cross_entropy_forward< | cross_entropy_forward | cross entropy | cls | 4 | 2 | 4
cross_entropy | cross_entropy_backward< | cross_entropy_backward | cross entropy: dx | cls | 8 | 4 | 8
cross_entropy_full | judge_positions< | judge_positions | cross entropy with all its options | cls | 4 | 2 | 12
cross_entropy_full | add_positions | add_positions | its sum over positions | - | - | - | -
cross_entropy_full | [ ^]backward< | backward | cross entropy with all its options: dx | cls | 8 | 4 | 12
class_loss | hinge_forward< | hinge_forward | hinge of labels | cls | 4 | 2 | 4
class_loss | hinge_backward< | hinge_backward | hinge of labels: dx | cls | 8 | 4 | 5
class_loss | kl_forward< | kl_forward | kl_divergence | cls | 8 | 6 | 25
class_loss | kl_backward< | kl_backward | kl_divergence: dx | cls | 8 | 6 | 1
loss | loss_forward< | loss_forward | mse, l1, huber, bce and their like | cls | 8 | 6 | 2 to 8
loss | loss_backward< | loss_backward | the same: dx | cls | 12 | 8 | 2 to 8
reduce | block_squares | block_squares | squares of the gradient | par | 4 | - | 2 (double)
reduce | add_in_order | add_in_order | their last sums | - | - | - | -
reduce | add_losses | add_losses | losses of a batch | - | - | - | -
reduce | ratios | ratios | norms of tensors to ratios | - | - | - | -
reduce | judge | judge | the verdict on a step | - | - | - | -
update | sgd | sgd | sgd with momentum | par | 20 | - | 6
update | adam | adam | adam, adamw | par | 28 | - | 14
update | elementwise<.*rmsprop | elementwise<rmsprop> | rmsprop, centered, with momentum | par | 36 | - | 14
update | elementwise<.*adagrad | elementwise<adagrad> | adagrad | par | 20 | - | 8
update | elementwise<.*lion | elementwise<lion> | lion | par | 20 | - | 10
update | elementwise<.*lars | elementwise<lars> | lars, without its norms | par | 20 | - | 6
update | elementwise<.*lamb | elementwise<lamb> | lamb: direction | par | 36 | - | 14
update | elementwise<.*step | elementwise<step> | lamb: step | par | 12 | - | 2
update | elementwise<.*limit | elementwise<limit> | clipping by value | par | 12 | - | 2
update | elementwise<.*average | elementwise<average> | average of weights | par | 12 | - | 3
update | stat | stat | running statistics | - | - | - | -
probe | probe | probe | whether the device works | - | - | - | -
'

# resources ARCHITECTURE [NAME...]: one line per compiled kernel: file, registers, shared bytes, spilled bytes, name.
resources() {
    local arch=$1 source sources=("$root"/core/backends/cuda/*.cu)
    shift
    if [ $# -gt 0 ]; then
        sources=("${@/%.cu/}")
        sources=("${sources[@]/#/$root/core/backends/cuda/}")
        sources=("${sources[@]/%/.cu}")
    fi
    for source in "${sources[@]}"; do
        "$nvcc" -cubin -arch="$arch" -O3 -I"$root" --resource-usage -o "$work/out.cubin" "$source" 2>&1 | c++filt |
            awk -v file="$(basename "$source" .cu)" '
            /Compiling entry function/ { split($0, part, "\047"); name = part[2]; spilled = 0 }
            /spill stores/ { spilled = $5 + $9 }
            /Used [0-9]+ registers/ {
                match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
                shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
                print file "|" registers "|" shared "|" spilled "|" name
            }'
    done
}

# print_table [NAME...]: with names the lines of other files are those of README.md.
print_table() {
    awk -F'|' -v rows="$rows" -v only="${*:+ $* }" -v readme="$root/README.md" '
    function trim(text) { gsub(/^ +| +$/, "", text); return text }
    # Microseconds that so many bytes take at so many bytes a second.
    function us(bytes, bandwidth) { return sprintf(bytes / bandwidth * 1e6 < 9.95 ? "%.1f" : "%.0f", bytes / bandwidth * 1e6) }
    BEGIN {
        elements["act"] = 128 * 64 * 56 * 56; elements["img"] = 128 * 3 * 224 * 224
        elements["par"] = 25.6e6; elements["cls"] = 128 * 1000
        elements["tok"] = 128 * 197 * 768; elements["att"] = 128 * 12 * 197 * 197
        n_rows = split(rows, row, "\n")
        while (only != "" && (getline line < readme) > 0)
            if (split(line, part, "|") > 3) old[trim(part[2]) "|" trim(part[3])] = line
    }
    {
        known = 0
        name = $5; for (i = 6; i <= NF; i++) name = name "|" $i
        for (r = 1; r <= n_rows && !known; r++) {
            split(row[r], field, " [|] ")
            if (trim(field[1]) != $1 || " " name !~ field[2]) continue
            known = 1
            side = FILENAME ~ /sm_80/ ? 80 : 90
            if ($2 > registers[r, side]) registers[r, side] = $2
            if ($3 > shared[r]) shared[r] = $3
            if ($4 > spilled[r]) spilled[r] = $4
        }
        if (!known) { print "add a line to `rows` in scripts/kernel_table.sh: none knows " $1 ".cu: " name > "/dev/stderr"; failed = 1 }
    }
    END {
        if (failed) exit 1
        print "| kernel | for | bytes an element, float32 / bfloat16 | operations an element | elements | MB in float32 | A100 40 GB, us | A100 80 GB, us | H100 SXM, us | registers sm_80 / sm_90 | shared bytes |"
        print "|---|---|---|---|---|---|---|---|---|---|---|"
        for (r = 1; r <= n_rows; r++) {
            if (row[r] !~ /[|]/) continue
            n = split(row[r], field, " [|] ")
            for (i = 1; i <= n; i++) { field[i] = trim(field[i]); if (field[i] == "-") field[i] = "" }
            if (only != "" && index(only, " " field[1] " ") == 0) {
                if (!((field[1] ".cu: " field[3] "|" field[4]) in old)) { print "README.md has nothing of " field[1] ".cu: " field[3] "; name it too" > "/dev/stderr"; exit 1 }
                print old[field[1] ".cu: " field[3] "|" field[4]]
                continue
            }
            if (!((r, 80) in registers)) { print "take the line out of `rows` in scripts/kernel_table.sh: there is no kernel " field[1] ".cu: " field[2] > "/dev/stderr"; exit 1 }
            each = field[6] (field[7] != "" ? " / " : "") field[7]
            cost = " |  |  | "
            if (field[5] != "") {
                bytes = field[6] * elements[field[5]]
                cost = sprintf("%s | %s | %s | %s", bytes < 1e7 ? sprintf("%.1f", bytes / 1e6) : int(bytes / 1e6 + 0.5),
                               us(bytes, 1.555e12), us(bytes, 2.039e12), us(bytes, 3.35e12))
            }
            spills = spilled[r] > 0 ? sprintf(" (%d bytes spilled)", spilled[r]) : ""
            printf "| %s.cu: %s | %s | %s | %s | %s | %s | %d / %d%s | %d |\n", field[1], field[3], field[4], each, field[8],
                field[5], cost, registers[r, 80], registers[r, 90], spills, shared[r]
        }
    }' "$work/sm_80" "$work/sm_90"
}

# instances OBJECTS: the same lines by the host compiler's symbols, with registers and bytes that say nothing.
instances() {
    local object file
    for object in "$@"; do
        case "$object" in *.cu.o) ;; *) continue ;; esac
        file=$(basename "$object" .cu.o)
        nm -C "$object" | sed -nE 's/^[0-9a-f]+ [tTwWuU] //p' |
            { grep -E "^([a-z ]+ )?($(kernels_of "$file"))[<(]" || true; } | sed "s/^/$file|1|0|0|/"
    done
}

# The names of a file's kernels and of those in headers, as a regular expression.
kernels_of() {
    cat "$root/core/backends/cuda/$1.cu" "$root"/core/backends/cuda/*.cuh | tr '\n' ' ' |
        grep -oE '__global__ void (__launch_bounds__\([A-Z_]+\) +)?[a-z0-9_]+ ?\(' | sed -E 's/ ?\($//; s/.* //' |
        sort -u | paste -sd'|'
}

# The first two columns of a table of kernels.
columns() {
    sed -nE 's/^(\| [a-z_]+\.cu: [^|]*\|[^|]*\|).*/\1/p' "$1"
}

check() {
    instances "$@" >"$work/sm_80"
    [ -s "$work/sm_80" ] || die "no kernels in these objects: $*"
    cp "$work/sm_80" "$work/sm_90"
    print_table >"$work/table"
    diff <(columns "$work/table") <(columns "$root/README.md") >&2 ||
        die "the table of kernels in README.md is another one; run scripts/kernel_table.sh --readme"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "${1:-}" = --check ]; then
    shift
    check "$@"
    exit 0
fi
nvcc=${CUDA_HOME:+$CUDA_HOME/bin/}nvcc
command -v "$nvcc" >/dev/null || die "there is no nvcc; see CUDA_HOME"
mode=${1:-}
[ $# = 0 ] || shift
for name in "$@"; do
    [ -f "$root/core/backends/cuda/${name%.cu}.cu" ] || die "there is no core/backends/cuda/${name%.cu}.cu"
done
resources sm_80 "$@" >"$work/sm_80"
resources sm_90 "$@" >"$work/sm_90"
print_table "${@/%.cu/}" >"$work/table"
if [ "$mode" != --readme ]; then
    cat "$work/table"
    exit 0
fi
awk -v table="$work/table" '
    /<!-- kernels: end/ { inside = 0 }
    !inside { print }
    /<!-- kernels: begin/ { inside = 1; while ((getline line < table) > 0) print line }' "$root/README.md" >"$work/README.md"
cat "$work/README.md" >"$root/README.md"
