#!/bin/bash
# The absolute floor: as floor.sh, with `docker start` of containers that exist already instead of compose.
. "$(dirname "$0")/shell.sh"
start() { printf 'docker start %s >/dev/null\n' "$(column "$1" 3)"; }
run_waves start
