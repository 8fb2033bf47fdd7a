#!/bin/bash
# The documents' own procedure: 15 s after phase 1, 10 s after each later start, then one look at the health endpoint.
# Given the same start command as the floor, so that nothing but the sleeping differs.
. "$(dirname "$0")/shell.sh"
start() { printf 'docker compose --progress quiet -f %q up -d --no-deps --no-recreate %s\n' "$compose" "$(column "$1" 2)"; }
pause=15
for wave in $(waves); do
    { printf 'set -e\n%s\n' "$probes"; start "$wave"; echo "sleep $pause"; gates "$wave"; } | on
    pause=10
done
