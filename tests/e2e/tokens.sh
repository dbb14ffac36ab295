#!/usr/bin/env bash
# A small language model from a text: imported as bytes and by a vocabulary, trained on windows of the stream, on one
# rank and on two, in one go and in two parts; evaluated, predicted; and tokens that the model does not have.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

for i in $(seq 300); do echo "the cat sat on mat $((i % 7)), the dog ran."; done >text.txt
expect 0 nntrain import text text.txt bytes.h5
says '9450 tokens to train on, 1050 to test on'
printf '%s\n' 'the ' cat dog sat ran on ' ' mat . , '\n' 0 1 2 3 4 5 6 >vocabulary.txt
expect 0 nntrain import text text.txt words.h5 --vocabulary vocabulary.txt
cat >cfg.ini <<END2
[run]
output = run
epochs = 4
threads = 1
[data]
file = words.h5
sequence = 16
stride = 8
batch = 24
[layer embed]
type = embedding
num_embeddings = 18
embedding_dim = 12
[layer out]
type = linear
axis = last
units = 18
[loss]
type = cross_entropy
class_dim = last
[optimizer]
type = adam
lr = 0.02
END2
expect 0 nntrain inspect words.h5
says '18 classes'
expect 0 nntrain cfg.ini
says 'samples 16 int32, 18 classes at 16 positions'
expect 0 nntrain eval cfg.ini
says '^perplexity  *[12]\.'
expect 0 nntrain predict cfg.ini words.h5 p.h5 --group /test
expect 2 nntrain predict cfg.ini words.h5 p.csv --group /test
says 'at 16 positions; name the output .h5'

# The order of windows is that of any samples: ranks share it, and a run in two parts is the run.
expect 0 ranks 2 cfg.ini run.output=two
a=$(sed -n 's/.*step [0-9]*: valid loss \([0-9.]*\).*/\1/p' run/train.log | tail -n 1)
b=$(sed -n 's/.*step [0-9]*: valid loss \([0-9.]*\).*/\1/p' two/train.log | tail -n 1)
awk -v a="$a" -v b="$b" 'BEGIN { exit !(a > 0 && a - b < 1e-4 && b - a < 1e-4) }' || fail "losses $a and $b of 1 and 2 ranks"
expect 0 nntrain cfg.ini run.output=parts run.epochs=1
expect 0 nntrain cfg.ini run.output=parts
[ "$(digest_of run)" = "$(digest_of parts)" ] || fail "a run in two parts ends with other weights"

# Mistakes.
expect 78 nntrain check cfg.ini data.sequence=0 data.stride=0
says 'data.sequence must say'
expect 78 nntrain check cfg.ini layer.out.units=17
says '17 outputs but the data have 18 classes'
expect 65 nntrain cfg.ini run.output=small layer.embed.num_embeddings=17
says 'token 17 at position [0-9]* of sample [0-9]* is not in 0..16'
expect 78 nntrain check cfg.ini data.file=bytes.h5
says '18 outputs but the data have 256 classes'
