#!/bin/bash
# Put here by `opsctl host install`: waits in bash, which is small, and then runs opsctl once.
export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin
opsctl=$(dirname "$(readlink -f "$0")")/opsctl said='' tries=0
while [ "$SECONDS" -lt 4000 ] && [ "$tries" -lt 60 ]; do
  held=$("$(dirname "$(readlink -f "$0")")/holds" /var/lib/opsctl)
  if [ -n "$held" ]; then
    read -r _ left run why <<<"$held"
    [ -n "$said" ] || echo "standing aside for run $run, for $left s at most: $why"
    said=1
    sleep 2
    continue
  fi
  if ! docker version >/dev/null 2>&1; then
    tries=$((tries + 1))
    sleep 3
    continue
  fi
  "$opsctl" host replay --wait 15m --stack /etc/opsctl/opsctl.yaml
  code=$?
  # Somebody else is at work, the engine went away again, or a read took too long on a machine that still boots: later.
  case $code in
    1 | 4 | 6) tries=$((tries + 10)) ;;
    *) exit "$code" ;;
  esac
  sleep 10
done
echo "given up: what was up before this boot is not all up; opsctl startup brings it up"
exit 6
