#!/usr/bin/env bash
# nntrain report: one page that needs nothing else, the same on one rank and on two, safe against names and
# values that are HTML, and still made where the data or the checkpoints are gone.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
digits=$source_dir/datasets/digits.h5
small_config cfg.ini 2

# holds FILE TEXT / lacks FILE TEXT (extended regular expressions)
holds() { grep -qE -e "$2" "$1" || fail "$1 lacks '$2'"; }
lacks() { ! grep -qE -e "$2" "$1" || fail "$1 holds '$2'"; }

# classes
expect 0 nntrain "$source_dir/launcher/examples/digits.ini" data.file="$digits" run.epochs=2 run.output=d run.log_every=5
grep -q '^step,phase,seconds$' d/times.csv || fail "times.csv has no header"
for phase in data forward backward evaluation checkpoint; do
    grep -q ",$phase,0*[0-9.]*[1-9]" d/times.csv || fail "times.csv knows no $phase"
done
expect 0 nntrain report d
says 'd/report.html'
expect 0 ranks 2 report d --output two.html
for page in d/report.html two.html; do
    lacks $page '<script|<link|https?:|src="[^d]|url\('
    holds $page '<h1>d</h1>'
    holds $page 'Confusion'
    holds $page 'The worst mistakes'
    holds $page 'data:image/png;base64,iVBORw0KGgo'
    holds $page 'Where the time went'
    holds $page 'optimizer'
    [ "$(grep -c '<svg' $page)" = 5 ] || fail "$page: not 5 charts"
done
accuracy=$(grep -oE '[0-9]+ of 360 right' d/report.html)
expect 0 nntrain eval "$source_dir/launcher/examples/digits.ini" data.file="$digits" run.output=d
says "$accuracy"
diff <(grep -oE '#[0-9]+: .*taken for [0-9a-z]+' d/report.html) <(grep -oE '#[0-9]+: .*taken for [0-9a-z]+' two.html) >/dev/null ||
    fail "the mistakes of one rank and of two differ"

# rows: values, and a configuration that is HTML
awk 'BEGIN { for (i = 0; i < 64; i++) printf "%g,%g,%g\n", i / 64, (i * 7 % 64) / 64, i / 64 + 0.5 }' >rows.csv
expect 0 nntrain import csv rows.csv rows.h5 --targets 1 --test-rows 16
cat >v.ini <<'END'
[run]
output = v
epochs = 2
name = a
[data]
file = rows.h5, <script>alert(1)<.h5
[layer fc]
type = linear
units = 1
[loss]
type = mse
END
expect 66 nntrain v.ini
sed -i 's/, <script.*//' v.ini
expect 0 nntrain v.ini
cp -r v gone
printf '[data]\nfile = <script>alert("1")</script>.h5\n[layer fc]\ntype = linear\nunits = 1\n[loss]\ntype = mse\n' >gone/config.ini
expect 0 nntrain report v
holds v/report.html 'Predicted against true'
holds v/report.html 'The samples furthest off'
holds v/report.html '#[0-9]+: [-0-9.e]+ for [-0-9.e]+; error'

# of many values the first four
sed 's/$/,1,2,3,4/' rows.csv >six.csv
expect 0 nntrain import csv six.csv six.h5 --targets 5 --test-rows 16
expect 0 nntrain v.ini data.file=six.h5 layer.fc.units=5 run.output=six
expect 0 nntrain report six
holds six/report.html '#[0-9]+: ([-0-9.e]+ for [-0-9.e]+, ){3}[-0-9.e]+ for [-0-9.e]+; error'
expect 0 nntrain report gone
says 'curves only'
lacks gone/report.html '<script'
holds gone/report.html '&#60;script&#62;alert'
holds gone/report.html 'Nothing was evaluated'
holds gone/report.html '<polyline'

# rows of an older version, which had no perplexity; torn and foreign lines do not count, and are said
cut -d, -f1-8 v/metrics.csv >rows && mv rows v/metrics.csv
printf 'x,y\n3,1,tr' >>v/metrics.csv
expect 0 nntrain report v
holds v/report.html '2 lines of the metrics could not be read'
rm -r v/checkpoints
expect 0 nntrain report v
holds v/report.html 'Nothing was evaluated'

# a sample that cannot be shown costs its picture; a set that cannot be read costs the evaluation; a rank that has no
# memory left does not leave the others waiting
NNTRAIN_FAULT=point=report.sample,kind=error,hit=2 expect 0 nntrain report d
[ "$(grep -c 'is not shown: injected fault' d/report.html)" = 1 ] || fail "not one picture is missing"
holds d/report.html 'data:image/png'
awk 'BEGIN { for (i = 0; i < 48; i++) print i % 7 "," i % 2; for (i = 0; i < 32; i++) print 77 "," i % 2 }' >m.csv
expect 0 nntrain import csv m.csv m.h5 --test-rows 32 --deflate 0
sed -e 's/rows.h5/m.h5\nmemory_mb = 0/; s/= v$/= m/; s/units = 1/units = 2/; s/mse/cross_entropy/' v.ini >m.ini
expect 0 nntrain m.ini
NNTRAIN_FAULT=point=examine.create,kind=error,rank=1 expect 0 ranks 2 report m
holds m/report.html 'Nothing was evaluated: rank 1.*examine.create'
at=$(grep -abo MMMMMMMMMMMMMMMM m.h5 | head -n 1 | cut -d: -f1)
printf N | dd of=m.h5 bs=1 seek=$((at + 20)) conv=notrunc status=none
for command in "nntrain report m" "ranks 2 report m"; do
    rm -f m/report.html
    expect 0 $command
    says 'curves only'
    holds m/report.html 'Nothing was evaluated: .*checksum'
done
expect 65 ranks 2 eval m.ini
says_once 'checksum'

# mistakes of users
expect 66 nntrain report nowhere
expect 2 nntrain report v.ini
says 'is not a folder'
mkdir empty
expect 66 nntrain report empty
says 'is not the folder of a run'
expect 73 nntrain report d --output two.html
says 'force'
expect 0 nntrain report d --output two.html --force
expect 73 nntrain report d --output no/such/folder.html
