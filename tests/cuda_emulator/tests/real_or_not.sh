#!/usr/bin/env bash
# Holds the emulator's constants, types and answers without a driver against those of the real runtime.
#
#   real_or_not.sh REAL EMULATED     real_or_not.c, compiled against either
set -euo pipefail
calls=calls
if [[ -e /dev/nvidiactl || -e /proc/driver/nvidia/version ]]; then
    calls=none # a driver is here: what it answers is its own affair
fi
diff <("$1" "$calls") <(NT_EMU_NO_DRIVER=1 "$2" "$calls")
