#!/usr/bin/env bash
# Fault 67: what only one rank cannot read stops all ranks, with one message that names that rank.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
mkdir a b
small_config a/cfg.ini
sed -i "s/^file = synthetic/file = digits.h5/; /^synthetic/d; s/^output = .*/output = ..\/run/" a/cfg.ini
cp a/cfg.ini b/cfg.ini
cp "$source_dir/datasets/digits.h5" a/

two_folders() {
    timeout -k 5 $patience mpirun -np 1 -wdir "$work/a" "$binary" cfg.ini run.epochs=1 : \
        -np 1 -wdir "$work/b" "$binary" cfg.ini run.epochs=1 >out 2>err
}
expect 66 two_folders
says_once 'rank 1 on .*digits.h5'
mkdir b/digits.h5
expect 66 two_folders
says_once 'rank 1 on .*digits.h5'
rmdir b/digits.h5
if [ "$(id -u)" != 0 ]; then
    cp a/digits.h5 b/ && chmod 000 b/digits.h5
    expect 66 two_folders
    says_once 'rank 1 on .*digits.h5.*ermission'
    rm -f b/digits.h5
fi
head -c 3000 a/digits.h5 >b/digits.h5
expect 65 two_folders
says_once 'rank 1 on .*digits.h5'
cp a/digits.h5 b/
sed -i 's/^lr = .*/lr = 0.1/' b/cfg.ini
expect 78 two_folders
says_once 'configuration differs between ranks: rank 1'
