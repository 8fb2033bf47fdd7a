# Sourced by the shell contestants: one multiplexed OpenSSH connection, and what a wave of the plan is made of.
# The plan's columns: wave, service, container, kind of probe, target, SQL files after the gate (`-` for none).
set -eu
config=$1 plan=$2 compose=$3
probes=$(<"$(dirname "$0")/probe.sh")
socket=$(mktemp -u "${TMPDIR:-/tmp}/bench-XXXXXXXX")
ssh -F "$config" -M -S "$socket" -fN droplet
trap 'ssh -F "$config" -S "$socket" -O exit droplet 2>/dev/null' EXIT

on() { ssh -F "$config" -S "$socket" droplet bash -s; }
waves() { cut -f1 "$plan" | uniq; }
column() { awk -F'\t' -v wave="$1" -v field="$2" '$1 == wave { printf "%s ", $field }' "$plan"; } # wave field
gates() { # wave: a line of shell for each service's gate and what follows it
    local container kind target sql
    awk -F'\t' -v wave="$1" '$1 == wave' "$plan" | while IFS=$'\t' read -r _ _ container kind target sql; do
        printf 'wait_for %q %q %q\n' "$container" "$kind" "$target"
        [ "$sql" = - ] || printf 'apply %q %q\n' "$container" "$sql"
    done
}
run_waves() { # the name of a function that prints the command which starts a wave
    local wave
    for wave in $(waves); do
        { printf 'set -e\n%s\n' "$probes"; "$1" "$wave"; gates "$wave"; } | on
    done
}
