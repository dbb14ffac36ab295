#!/usr/bin/env bash
# Holds the architecture: who may include whom, which vendor's header stays in which room, who may end the
# process. Prints every violation as file:line and fails if there is one.
#
#   tests/check_includes.sh [source folder]
#
# Includes point one way only: core <- {datasets, dist} <- launcher. Comments do not count.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
rooms=(core datasets dist launcher)
violations=0

# may_include ROOM: the rooms it may include, as a regular expression.
may_include() {
    case $1 in
    core) echo 'core' ;;
    datasets) echo 'core|datasets' ;;
    dist) echo 'core|dist' ;;
    launcher) echo 'core|datasets|dist|launcher' ;;
    esac
}

# Vendor's headers and the files that may include them, both as regular expressions.
vendors=(
    'mpi\.h|mpi-ext\.h            ^dist/comm_mpi\.c$'
    'nccl.*\.h                    ^dist/(comm_nccl|lazy/nccl)\.c$'
    'hdf5.*\.h|H5[A-Z].*\.h       ^core/h5[^/]*\.[ch]$'
    '(oneapi/)?(dnnl/)?dnnl.*\.h  ^core/backends/cpu/'
    'cublas.*\.h                  ^core/backends/cuda/(blas|lazy/cublas)\.c$'
    'nvtx.*\.h|nvToolsExt.*\.h    ^core/backends/cuda/nvtx\.c$'
    '(cuda|curand|nvml|driver_types|thrust|cub/).*\.(h|cuh)   ^(core/backends/cuda/([^/]*\.cuh?|runtime\.h|blas\.c)|dist/comm_nccl\.c)$'
    'jansson\.h                   ^core/safetensors\.c$'
    'png\.h                       ^(launcher/page|datasets/picture_png)\.c$'
    'turbojpeg\.h                 ^datasets/picture_jpeg\.c$'
    'assert\.h                    ^$'
)

# Files that may end the process, and why:
#   launcher/main.c   the one place where a process ends
#   core/fault.c      a fault point acts out an early exit
#   dist/comm_mpi.c   the deadline of MPI_Init, whose caller cannot be reached; what follows MPI_Abort
enders='^(launcher/main\.c|core/fault\.c|dist/comm_mpi\.c)$'

complain() { # FILE LINE TEXT
    echo "$1:$2: $3"
    violations=$((violations + 1))
}

# All files with comments and the contents of strings blanked, as FILE:LINE:TEXT; includes keep their names.
strip() {
    awk '
    FNR == 1 { comment = 0 }
    {
        line = $0
        out = ""
        if (!comment && line ~ /^[ \t]*#[ \t]*include/) { print FILENAME ":" FNR ":" line; next }
        while (length(line) > 0) {
            if (comment) {
                at = index(line, "*/")
                if (at == 0) { line = ""; break }
                line = substr(line, at + 2); comment = 0
            } else if (match(line, /\/\*|\/\/|"|\047/)) {
                what = substr(line, RSTART, RLENGTH)
                out = out substr(line, 1, RSTART - 1)
                line = substr(line, RSTART + RLENGTH)
                if (what == "//") { line = ""; break }
                if (what == "/*") { comment = 1; continue }
                if (what == "\"") sub(/^([^"\\]|\\.)*"?/, "", line)
                else sub(/^([^\047\\]|\\.)*\047?/, "", line)
                out = out what what
            } else { out = out line; line = "" }
        }
        print FILENAME ":" FNR ":" out
    }' "$@"
}

check_own_include() { # FILE LINE HEADER
    local file=$1 line=$2 header=$3 room=${1%%/*}
    if [[ $header == *..* ]]; then
        complain "$file" "$line" "'$header': name headers from the root of the sources"
    elif [[ $header == */* ]]; then
        [[ ${header%%/*} =~ ^($(may_include "$room"))$ ]] ||
            complain "$file" "$line" "$room must not include '$header'"
    elif [[ ! -e ${file%/*}/$header ]]; then
        complain "$file" "$line" "'$header' is not in the folder of this file: name it from the root"
    fi
}

check_vendor_include() { # FILE LINE HEADER
    local rule
    for rule in "${vendors[@]}"; do
        read -r pattern where <<<"$rule"
        if [[ $3 =~ ^($pattern)$ && ! $1 =~ $where ]]; then
            complain "$1" "$2" "<$3> is not allowed in this file (only in ${where/#^$/none})"
        fi
    done
}

check_includes() { # stripped sources on stdin
    local file line text quote header
    while IFS=: read -r file line text; do
        [[ $text =~ include[[:space:]]*([\"\<])([^\"\>]+) ]] || continue
        quote=${BASH_REMATCH[1]} header=${BASH_REMATCH[2]}
        if [[ $quote == '"' ]]; then check_own_include "$file" "$line" "$header"; fi
        check_vendor_include "$file" "$line" "$header"
    done < <(grep -E '^[^:]*:[0-9]+:[[:space:]]*#[[:space:]]*include' || true)
}

check_words() { # FILES EXEMPT WORDS COMPLAINT, stripped sources on stdin; the first three are regular expressions
    local file line text
    while IFS=: read -r file line text; do
        if [[ $file =~ $1 && ! $file =~ $2 ]]; then complain "$file" "$line" "$4"; fi
    done < <(grep -E "^[^:]*:[0-9]+:(.*[^A-Za-z0-9_.>])?($3)" || true)
}

mapfile -t files < <(find "${rooms[@]}" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) | sort)
if ((${#files[@]} == 0)); then
    echo "no source files in $PWD: ${rooms[*]}" >&2
    exit 1
fi
stripped=$(strip "${files[@]}")
check_includes <<<"$stripped"
check_words '.' "$enders" '(exit|_exit|_Exit|quick_exit|abort|err|errx)[[:space:]]*\(' \
    "only launcher/main.c ends the process: return a status" <<<"$stripped"
check_words '.' '^$' 'assert[[:space:]]*\(' "no assert: NT_BUG_UNLESS is always compiled in" <<<"$stripped"
check_words '^core/' '^$' 'MPI_[A-Z]|nccl[A-Z]' "core knows no MPI and no NCCL" <<<"$stripped"

if ((violations > 0)); then
    echo "$violations violation(s) in ${#files[@]} files" >&2
    exit 1
fi
echo "${#files[@]} files, no violation"
