#!/usr/bin/env bash
# Weights out and in: a trained net exported to safetensors evaluates the same, begins another run, and is refused
# with the list of what does not fit. The independent reader is Python's safetensors package, where it is installed.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cat >cfg.ini <<END
[run]
output = run
epochs = 1
threads = 1
[data]
file = $source_dir/datasets/digits.h5
batch = 64
limit = 256
[layer conv1]
type = conv2d
filters = 4
kernel = 3
[layer bn]
type = batchnorm
activation = relu
[layer flat]
type = flatten
[layer fc]
type = linear
units = 10
END
expect 0 nntrain cfg.ini
expect 0 nntrain eval cfg.ini --json
trained=$(grep -o '"loss": [^,]*' out)
expect 0 nntrain export cfg.ini w.safetensors
says '1498 parameters of run/checkpoints/step_00000004.h5'

# evaluated as a checkpoint, and as the beginning of a run, also on two ranks
expect 0 nntrain eval cfg.ini w.safetensors --json
[ "$(grep -o '"loss": [^,]*' out)" = "$trained" ] || fail "another loss from the exported weights than $trained"
# (a step that changes nothing)
expect 0 ranks 2 cfg.ini run.output=second model.init=w.safetensors run.steps=1 optimizer.lr=1e-30 layer.bn.momentum=0
expect 0 nntrain eval cfg.ini second/checkpoints/step_00000001.h5 --json
[ "$(grep -o '"loss": [^,]*' out)" = "$trained" ] || fail "another loss from the run that began with them than $trained"

# another head
expect 78 nntrain cfg.ini run.output=third model.init=w.safetensors layer.fc.units=12
says "2 of another shape: fc.weight (the model has 12x144, the file 10x144), fc.bias"
expect 0 nntrain cfg.ini run.output=third model.init=w.safetensors model.init_partial=yes layer.fc.units=12
says "6 of 8 parameters taken from 'w.safetensors'; 2 of another shape"

# mistakes
expect 73 nntrain export cfg.ini w.safetensors
says "'w.safetensors' exists already; --force replaces it"
expect 0 nntrain export cfg.ini w.safetensors --force
expect 2 nntrain export cfg.ini w.pth
says "must end in .safetensors"
expect 66 nntrain cfg.ini run.output=fourth model.init=no_such.safetensors
says "cannot open 'no_such.safetensors'"
expect 65 nntrain cfg.ini run.output=fourth model.init=cfg.ini
says "'cfg.ini' is not a safetensors file"
head -c 3000 w.safetensors >cut.safetensors
expect 65 nntrain cfg.ini run.output=fourth model.init=cut.safetensors
says 'cut off'

python3 -c 'import safetensors.numpy' 2>/dev/null || { echo "SKIPPED: no safetensors package for the independent reader" && exit 0; }
python3 - <<END || fail "Python's safetensors disagrees"
import numpy as np
from safetensors.numpy import load_file, save_file
w = load_file("w.safetensors")
assert {k: v.shape for k, v in w.items()} == {"conv1.weight": (4, 1, 3, 3), "conv1.bias": (4,), "bn.weight": (4,), "bn.bias": (4,),
    "bn.running_mean": (4,), "bn.running_var": (4,), "fc.weight": (10, 144), "fc.bias": (10,)}, w
w["bn.num_batches_tracked"] = np.array(7, dtype=np.int64)
w["fc.weight"] = w["fc.weight"].astype(np.float64)
save_file(w, "py.safetensors", metadata={"format": "pt"})
w["extra.weight"] = np.zeros((2, 2), np.float32)
del w["fc.bias"]
save_file(w, "odd.safetensors")
w = load_file("w.safetensors")
w["fc.bias"][3] = np.nan
save_file(w, "nan.safetensors")
END
expect 0 nntrain eval cfg.ini py.safetensors --json
[ "$(grep -o '"loss": [^,]*' out)" = "$trained" ] || fail "another loss from Python's file than $trained"
expect 78 nntrain eval cfg.ini odd.safetensors
says '1 not in the file: fc.bias; 1 not in the model: extra.weight'
expect 65 nntrain eval cfg.ini nan.safetensors
says "tensor 'fc.bias' holds a value that is not finite"

# The class that is predicted is that of the largest logit, also where probabilities in float are all the same.
python3 - <<'END'
from safetensors.numpy import load_file, save_file
import numpy as np
w = load_file("w.safetensors")
w["fc.weight"][:] = 0
w["fc.bias"] = (np.arange(10) % 8 * 1e-10).astype(np.float32)
save_file(w, "tie.safetensors")
END
expect 0 nntrain predict cfg.ini "$source_dir/datasets/digits.h5" tie.csv --group /test --checkpoint tie.safetensors
awk -F, 'NR > 1 && ($2 != 7 || $3 != $NF) { exit 1 }' tie.csv || fail "not the class of the largest logit: $(sed -n 2p tie.csv)"
