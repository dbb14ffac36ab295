#!/usr/bin/env bash
# A small language model from a text: imported as bytes and by a vocabulary, trained on windows of the stream, on one
# rank and on three, in one go and in two parts; evaluated, predicted; and tokens that the model does not have. Accuracy
# is that of tokens, counted anew by Python where it is installed, and perplexity that of the tokens that count.
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
batch = 25
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
says '^accuracy  *0\.[0-9]* ([0-9]* of [0-9]* right; 95 % interval .*, by how samples differ'
tail -n 3 run/train.log | grep -q 'valid loss [0-9.]*, valid accuracy 0\.[0-9]*, valid perplexity [12]\.' || fail "the log ends without them"
expect 0 nntrain predict cfg.ini words.h5 p.h5 --group /test
expect 2 nntrain predict cfg.ini words.h5 p.csv --group /test
says 'at 16 positions; name the output .h5'

# number KEY: a value of the JSON object in out
number() { grep -o "\"$1\": [^,}]*" out | cut -d' ' -f2; }
# near A B: they differ by less than 1e-4
near() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && a - b < 1e-4 && b - a < 1e-4) }' || fail "$1 and $2"; }

# The order of windows is that of any samples: ranks share it (9, 8 and 8 of a batch), and a run in two parts is the run.
expect 0 ranks 3 cfg.ini run.output=three
a=$(sed -n 's/.*step [0-9]*: valid loss \([0-9.]*\).*/\1/p' run/train.log | tail -n 1)
b=$(sed -n 's/.*step [0-9]*: valid loss \([0-9.]*\).*/\1/p' three/train.log | tail -n 1)
near "$a" "$b"
head -n 1 run/metrics.csv | grep -q ',perplexity$' || fail "metrics.csv: $(head -n 1 run/metrics.csv)"
awk -F, '$3 == "valid" || $3 == "epoch" { if ($9 / exp($4) > 1.00001 || $9 / exp($4) < 0.99999 || $5 < 0.1) exit 1; n++ } END { exit n != 8 }' \
    run/metrics.csv || fail "a perplexity in metrics.csv is not exp of its loss"
near "$(awk -F, '$3 == "epoch" { print $9 }' run/metrics.csv | tail -n 1)" "$(awk -F, '$3 == "epoch" { print $9 }' three/metrics.csv | tail -n 1)"

# What is counted does not depend on ranks, nor perplexity on what the loss is a mean over. Label 6 (blank) is ignored.
ignore="loss.ignore_index=6"
expect 0 nntrain eval cfg.ini run/checkpoints/"$(cat run/checkpoints/latest)" --json
cp out all.json
expect 0 nntrain eval cfg.ini $ignore --json
cp out one.json
perplexity=$(number perplexity)
expect 0 ranks 3 eval cfg.ini $ignore --json
[ "$(number correct) of $(number answers)" = "$(cp one.json out && number correct) of $(number answers)" ] || fail "other counts on 3 ranks"
expect 0 nntrain eval cfg.ini $ignore loss.mean_over=weights --json
near "$(number perplexity)" "$perplexity"
awk -v a="$(number loss)" -v p="$perplexity" 'BEGIN { exit !(exp(a) - p < 1e-4 && p - exp(a) < 1e-4) }' || fail "not the exp of the mean over weights"
expect 0 nntrain eval cfg.ini loss.label_smoothing=0.1
does_not_say perplexity
expect 0 nntrain cfg.ini run.output=parts run.epochs=1
expect 0 nntrain cfg.ini run.output=parts
[ "$(digest_of run)" = "$(digest_of parts)" ] || fail "a run in two parts ends with other weights"
# Killed within an epoch: its row of the epoch is of all of its tokens, also of those before the checkpoint.
NNTRAIN_FAULT="point=run.step,kind=kill,step=40" expect 137 nntrain cfg.ini run.output=cut checkpoint.every='7 steps'
expect 0 nntrain cfg.ini run.output=cut checkpoint.every='7 steps'
says 'going on from checkpoint .* after step 35'
same_run run cut

# Mistakes.
expect 78 nntrain check cfg.ini data.sequence=0 data.stride=0
says 'data.sequence must say'
expect 78 nntrain check cfg.ini layer.out.units=17
says 'layer out has 17 outputs at a position but the data have 18 classes: its output is 16x17'
expect 78 nntrain check cfg.ini loss.class_dim=first
says 'layer out has 16 outputs at a position .* loss.class_dim = first takes the first dimension for the classes'
expect 65 nntrain cfg.ini run.output=small layer.embed.num_embeddings=17
says 'token 17 at position [0-9]* of sample [0-9]* is not in 0..16'
expect 78 nntrain check cfg.ini data.file=bytes.h5
says '18 outputs at a position but the data have 256 classes'

python3 -c 'import h5py' 2>/dev/null || { echo "SKIPPED: no h5py for the count of tokens" && exit 0; }
python3 - <<'END' || fail "another count of tokens"
import json
import h5py, numpy as np
with h5py.File("words.h5") as file:
    tokens = file["test/tokens"][:]
with h5py.File("p.h5") as file:
    guess, p = file["class"][:], file["prediction"][:]
n = len(guess)
assert guess.shape == (n, 16) and p.shape == (n, 16, 18), (guess.shape, p.shape)
labels = np.stack([tokens[8 * i + 1:8 * i + 17] for i in range(n)])
for name, counts in (("all.json", labels >= 0), ("one.json", labels != 6)):
    got = json.load(open(name))
    right = ((guess == labels) & counts).sum(axis=1)
    assert got["answers"] == counts.sum() and got["correct"] == right.sum(), (name, got, counts.sum(), right.sum())
    nats = -np.log(np.take_along_axis(p, labels[:, :, None], 2)[:, :, 0])[counts].mean()
    assert abs(got["perplexity"] - np.exp(nats)) < 1e-3, (name, got, np.exp(nats))  # of probabilities in float
    share = right.sum() / counts.sum()  # the interval: Wilson's for the effective number, from the formula of a ratio
    variance = n / (n - 1) * ((right - share * counts.sum(axis=1)) ** 2).sum() / counts.sum() ** 2
    size = min(counts.sum(), share * (1 - share) / variance)
    low = got["accuracy_low"]
    assert abs((share - low) / np.sqrt(low * (1 - low) / size) - 1.959964) < 1e-3, (name, got)
END
