#!/bin/bash
# Put here by `opsctl cron install`: JOB DEADLINE JITTER WORDS… runs one opsctl command and waits in bash, which is small.
# One at a time, bounded, silent when all is well; what it said is in its log, how it ended in its note.
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
job=$1 deadline=$2 jitter=$3; shift 3
opsctl=${OPSCTL_CRON_OPSCTL:-/usr/local/bin/opsctl} folder=${OPSCTL_CRON_FOLDER:-/var/lib/opsctl/cron}
umask 022
mkdir -p "$folder" || exit 1
log=$folder/$job.log note=$folder/$job.last
exec 9>"$folder/$job.lock"
if ! flock -n 9; then
  [ -z "$OPSCTL_CRON_NOW" ] || { echo "$job is under way already" >&2; exit 6; }
  exit 0
fi
[ "$jitter" -le 0 ] || sleep $((RANDOM % (jitter + 1)))
# Two old logs of at most 256 KiB each are kept beside the one that is written.
if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt 262144 ]; then
  [ ! -e "$log.1" ] || mv -f "$log.1" "$log.2"
  mv -f "$log" "$log.1"
fi
said=$folder/.$job.said
before=$(cut -f 2 "$note" 2>/dev/null)
export COLUMNS=160 NO_COLOR=1
began=$EPOCHSECONDS stamp=$(date -u +%FT%TZ)
token=/etc/opsctl/cloud-token
if [ "$job" = snapshot ] && [ -r "$token" ]; then read -r DIGITALOCEAN_TOKEN <"$token"; export DIGITALOCEAN_TOKEN; fi
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
timeout -k 20 "$deadline" "$opsctl" "$@" >"$said" 2>&1 9>&- &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
seconds=$((EPOCHSECONDS - began))
case $code in
  0) outcome=done ;;
  6) outcome=skipped ;;                # somebody else has the lease: next time
  124 | 137) outcome=deadline ;;
  *) outcome=failed ;;
esac
last=$(grep -v '^[[:space:]]*$' "$said" | tail -n 3 | tr '\n\t\r' '   ' | tr -d '\000-\037' | cut -c 1-300 | sed 's, *$,,')
{
  printf '%s %s: %s, exit %s, %s s\n' "$stamp" "$job" "$outcome" "$code" "$seconds"
  # What went well has nothing to say to anybody.
  [ "$outcome" = done ] || tail -c 16384 "$said" | sed 's/^/  /'
} >>"$log"
printf '%s\t%s\t%s\t%s\t%s\n' "$stamp" "$outcome" "$code" "$seconds" "$last" >"$note.new" && mv -f "$note.new" "$note"
if [ -n "$OPSCTL_CRON_NOW" ]; then
  cat "$said"
elif [ "$outcome" = failed ] || [ "$outcome" = deadline ]; then
  # Said once, not every minute for as long as it lasts: cron makes a mail of every line.
  [ "$outcome" = "$before" ] || { echo "$job: $outcome after $seconds s (exit $code)"; cat "$said"; }
fi
rm -f "$said"
[ -z "$OPSCTL_CRON_NOW" ] || exit "$code"
case $outcome in done | skipped) exit 0 ;; *) exit 1 ;; esac
