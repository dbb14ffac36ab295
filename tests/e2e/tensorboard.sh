#!/usr/bin/env bash
# TensorBoard's event files: the same numbers as in metrics.csv, also over a resume. TensorBoard itself reads them where
# Python has it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
small_config cfg.ini 2
expect 0 nntrain cfg.ini
[ -z "$(find run -name 'events.*')" ] || fail "event files that nobody asked for"
rm -rf run
export NNTRAIN_FAULT="point=step.forward,kind=kill,step=10"
expect 137 nntrain cfg.ini run.tensorboard=yes
unset NNTRAIN_FAULT
sleep 1 # another second, another file's name
expect 0 nntrain cfg.ini run.tensorboard=yes run.histograms="1 epoch"
[ "$(find run -name 'events.out.tfevents.*' | wc -l)" = 2 ] || fail "two starts did not leave two event files"
grep -q 'brain.Event:2' run/events.* || fail "no version in the event files"

expect 78 nntrain cfg.ini run.histograms="1 epoch" run.output=other
says 'run.tensorboard = yes'
expect 78 nntrain cfg.ini run.histograms="2 minutes" run.tensorboard=yes run.output=other

python3 -c 'import tensorboard' 2>/dev/null || { echo "SKIPPED: no TensorBoard for the comparison" && exit 0; }
python3 - <<'END' || fail "TensorBoard reads something else"
import csv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("run", size_guidance={"scalars": 0, "histograms": 0})
events.Reload()
wanted = {}
for row in csv.DictReader(open("run/metrics.csv")):
    for key in ("loss", "accuracy", "lr", "grad_norm"):
        if row[key]:
            wanted[f"{row['split']}/{key}", int(row["step"])] = float(row[key])
got = {(tag, e.step): e.value for tag in events.Tags()["scalars"] for e in events.Scalars(tag) if "samples_per_s" not in tag}
assert set(got) == set(wanted), set(got) ^ set(wanted)
assert all(abs(got[k] - wanted[k]) <= 1e-6 * abs(wanted[k]) for k in wanted)
kernels = [h for h in events.Histograms("weights/conv.weight")]
assert [h.step for h in kernels] == [16, 32], kernels
last = kernels[-1].histogram_value
assert last.num == 4 * 9 and last.min < last.max and abs(sum(last.bucket) - last.num) < 1e-9
assert "weights/conv.bn.weight" in events.Tags()["histograms"]
END
