#!/bin/bash
# The fair floor: compose v2 starts a wave, each service is probed every 100 ms on the droplet, one round trip a wave.
. "$(dirname "$0")/shell.sh"
start() { printf 'docker compose --progress quiet -f %q up -d --no-deps --no-recreate %s\n' "$compose" "$(column "$1" 2)"; }
run_waves start
