# Runs several pieces of bash at a time over one channel, and ends them all when its owner goes away.
# Requests on stdin: p (heartbeat) · r ID SLOT KIND LEASE LENGTH INPUT, then the text, then its stdin in base64 ·
#   k ID (end it) · l ID LENGTH, then folder, scope, the run to work under and holder (take a lease) · u ID (give it
#   back) · q
# Answers on stdout, a line each, none longer than 1000 bytes so that writers side by side never tear each other's:
#   o/e ID BASE64 (output) · =/+ ID TEXT (a streamed line, or a part of one) · x ID STATUS · f ID · g ID … · p · z ·
#   b WHY (the lease was taken away)
export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/snap/bin
trap : PIPE HUP INT
trap _o_end TERM
set -m
_o_dying=()
declare -A _o_pids _o_leased _o_fds _o_holders _o_parents _o_broken

_o_spool() {
  local d
  for d in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
    # What an agent left behind that was killed outright goes first.
    local old
    for old in "$d"/opsctl."$UID".*; do
      [[ -d $old && ! -d /proc/${old##*.} ]] && rm -rf -- "$old"
    done
    _o_dir=$d/opsctl.$UID.$$
    (umask 077; mkdir -- "$_o_dir") || continue
    trap 'rm -rf -- "$_o_dir"' EXIT
    return 0
  done
  return 1
}

_o_send() { # kind id file
  local lines
  [[ -s $3 ]] || return 0
  base64 -w 720 "$3" >"$3.b" || { printf 'f %s\n' "$2"; : >"$3"; : >"$3.b"; return; }
  while mapfile -t -n 1000 lines && ((${#lines[@]})); do
    printf "$1 $2 %s\n" "${lines[@]}"
  done <"$3.b"
  : >"$3.b"
  : >"$3"
}

_o_eval() { # text, its stdin in base64
  set +m
  trap - PIPE HUP INT TERM
  if [[ -n $2 ]]; then
    # What does not fit a pipe, bash keeps in a file there: in memory, like all output, for the disk may be full.
    exec < <(TMPDIR=$_o_dir; base64 -d <<<"$2")
  else
    exec </dev/null
  fi
  eval "$1"
}

_o_lines() { # id; `P` ends a last line that its writer did not, so that the next frame starts on its own
  local s=":a;/^.\\{700\\}./{s/^.\\{700\\}/+ $1 &\\n/;P;s/^[^\\n]*\\n//;ba};s/^/= $1 /;s/\$/\\n/;P;d"
  if [[ -n $_o_stdbuf ]]; then stdbuf -oL sed "$s"; else sed -u "$s"; fi
}

_o_sweep() { # what a script left running would write into the next one's output; `setsid` is for who must stay
  trap : TERM
  kill -TERM 0
  trap - TERM
}

_o_job() { # id slot kind text stdin; the lock of its lease stays open in it, so that what still runs keeps the lease
  local f=$_o_dir/$2 c fd
  for fd in "${!_o_fds[@]}"; do
    [[ $fd = "${_o_leased[$1]}" ]] || exec {_o_fds[$fd]}<&-
  done
  if [[ $3 = s ]]; then
    (_o_eval "$4" "$5") 2>"$f.e" | _o_lines "$1"
    c=${PIPESTATUS[0]}
    _o_sweep
  else
    (_o_eval "$4" "$5") >"$f.o" 2>"$f.e"
    c=$?
    _o_sweep
    _o_send o "$1" "$f.o"
  fi
  _o_send e "$1" "$f.e"
  printf 'x %s %s\n' "$1" "$c"
}

_o_left() { # whether one of these groups has a living member; the dead whom nobody has buried yet don't count
  local p f line living=
  for p; do kill -0 -- "-$p" && living=1; done
  [[ -n $living ]] || return 1
  for f in /proc/[0-9]*/stat; do
    read -r line <"$f" || continue
    line=${line##*) }
    [[ $line = [ZX]* ]] && continue
    line=${line#* * }
    [[ " $* " = *" ${line%% *} "* ]] && return 0
  done
  return 1
}

_o_gone() { # seconds, process groups
  local end=$((SECONDS + $1))
  shift
  while _o_left "$@"; do
    ((SECONDS <= end)) || return 1
    sleep 0.05
  done
}

_o_kill() { # process groups: asked first, forced after 2 s
  local p
  for p; do kill -TERM -- "-$p"; done
  _o_gone 2 "$@" && return
  for p; do kill -KILL -- "-$p"; done
  _o_gone 1 "$@"
}

_o_end() { # asked to, left alone, or killed by whoever breaks the lease
  trap : TERM
  local f text
  for f in "${_o_broken[@]}"; do
    [[ -z $1 && -s $f ]] && read -r text <"$f" && printf 'b %s\n' "${text:0:900}"
  done
  _o_kill $(jobs -p) "${_o_dying[@]}"
  if [[ -n $1 ]]; then
    ((${#_o_holders[@]})) && rm -f -- "${_o_holders[@]}"
    printf 'z\n'
  fi
  exit 0
}

_o_folder() { # mode path
  [[ -d $2 ]] && return
  if [[ $UID = 0 ]]; then mkdir -m "$1" -- "$2"; else (umask 002; mkdir -- "$2"); fi
}

_o_why() { # state folder: the system's own word for why nothing can be written there
  local d=$1/lease said
  [[ -d $d ]] || d=$1
  [[ -d $d ]] || d=${1%/*}
  # More than a block: where a disk is full, a file without content can still be made.
  said=$({ printf '%8192s' >"$d/.try.$BASHPID"; rm -f -- "$d/.try.$BASHPID"; } 2>&1)
  rm -f -- "$d"/.try.*
  said=${said%%$'\n'*}
  printf '%s' "${said##*: }"
}

_o_lease() { # id, state folder, scope, the holder as JSON without its last brace, the run to work under
  local boot up rest old fd beside lock=$2/lease/$3.lock holder=$2/lease/$3.json under=$2/lease/$3.under
  command -v flock >/dev/null || { printf 'g %s noflock\n' "$1"; return; }
  read -r boot </proc/sys/kernel/random/boot_id
  read -r up rest </proc/uptime
  { _o_folder 755 "$2" && _o_folder 755 "$2/lease" && _o_folder 700 "$2/runs" &&
    (umask 002; : >>"$lock" && : >>"$under") && exec {fd}<"$lock" && exec {beside}<"$under"; } ||
    { printf 'g %s nowrite %s\n' "$1" "$(_o_why "$2")"; return; }
  if [[ -n $5 ]]; then
    # A step of a run that holds the lease works beside it: nobody else gets the lease before both are over.
    exec {fd}<&-
    _o_parents[$1]=$2/lease/$3/$5
    if flock -s -w 2 "$beside" && _o_allowed "$1"; then
      _o_fds[$1]=$beside _o_broken[$1]=$2/lease/$3.broken
      printf 'g %s ok \n' "$1"
    else
      exec {beside}<&-
      unset "_o_parents[$1]"
      printf 'g %s over\n' "$1"
    fi
    return
  fi
  # Those who only look at it have it for a moment, too.
  if ! { flock -n "$fd" || flock -w 0.3 "$fd"; } || ! flock -n "$beside"; then
    exec {fd}<&- {beside}<&-
    read -r old <"$holder"
    printf 'g %s held %s %s %s\n' "$1" "$boot" "$up" "$old"
    return
  fi
  [[ -s $holder ]] && read -r old <"$holder"
  if ! (umask 002; printf '%s,"boot_id":"%s","uptime":"%s","pid":"%s"}\n' "$4" "$boot" "$up" $$ >"$holder"); then
    exec {fd}<&- {beside}<&-
    printf 'g %s nowrite %s\n' "$1" "$(_o_why "$2")"
    return
  fi
  # Not before the note is ours: a step of the run before reads in it that its right is over.
  exec {beside}<&-
  _o_fds[$1]=$fd _o_holders[$1]=$holder _o_broken[$1]=$2/lease/$3.broken
  printf 'g %s ok %s\n' "$1" "$old"
}

_o_allowed() { # id; whether the run that it works under still holds the lease
  local at=${_o_parents[$1]} note
  [[ -n $at ]] || return 0
  read -r note <"${at%/*}.json"
  [[ $note = *"\"run\": \"${at##*/}\""* ]] && ! flock -s -n "${at%/*}.lock" true
}

_o_check() { # what works under a run that is over has no right to go on
  local id
  for id in "${!_o_parents[@]}"; do
    _o_allowed "$id" || { printf 'b over\n'; _o_end; }
  done
}

_o_prune() { # forget what is over: its number, used again, would be somebody else's process
  local id running=$'\n'$(jobs -rp)$'\n'
  for id in "${!_o_pids[@]}"; do
    [[ $running = *$'\n'"${_o_pids[$id]}"$'\n'* ]] || unset "_o_pids[$id]" "_o_leased[$id]"
  done
  for id in "${!_o_dying[@]}"; do
    kill -0 -- "-${_o_dying[$id]}" || unset "_o_dying[$id]"
  done
}

_o_release() { # id
  local id pids=() fd=${_o_fds[$1]}
  _o_prune
  [[ -n $fd ]] || { printf 'g %s back\n' "$1"; return; }
  for id in "${!_o_pids[@]}"; do
    [[ ${_o_leased[$id]} = "$1" ]] && pids+=("${_o_pids[$id]}")
  done
  _o_dying+=("${pids[@]}")
  # In the background, for something stubborn takes 2 s; the unlock counts for every process that has the file open.
  { _o_kill "${pids[@]}"; rm -f -- ${_o_holders[$1]:+"${_o_holders[$1]}"}; flock -u "$fd"; printf 'g %s back\n' "$1"; } &
  exec {fd}<&-
  unset "_o_fds[$1]" "_o_holders[$1]" "_o_parents[$1]" "_o_broken[$1]"
}

_o_start() {
  local boot user=$USER uid=$UID
  [[ $_o_sudo = sudo ]] && user=$SUDO_USER uid=$SUDO_UID
  [[ -n $user ]] || user=$(id -un)
  read -r boot </proc/sys/kernel/random/boot_id
  printf '\n@%s ok %s %s %s %s\n' "$_o_nonce" "$user" "$uid" "$boot" "$_o_sudo"
  exec 2>/dev/null
  _o_spool || { printf 'f 0\n'; exit 0; }
  command -v stdbuf >/dev/null && _o_stdbuf=1
}

_o_take() { # so many bytes of stdin, in time; with a time limit `read` asks the clock for each byte, so only short ones
  if (($1 <= 4096)); then
    _o_taken=
    (($1 == 0)) || IFS= read -rN "$1" -t "$_o_silence" _o_taken
  else
    _o_taken=$(timeout "$_o_silence" head -c "$1"; printf .)
    _o_taken=${_o_taken%.}
    ((${#_o_taken} == $1))
  fi
}

_o_main() {
  local cmd id a b c d e text folder scope under holder
  while IFS=' ' read -r -t "$_o_silence" cmd id a b c d e; do
    case $cmd in
      p)
        printf 'p\n'
        _o_prune
        _o_check
        ;;
      r)
        _o_take "$d" && text=$_o_taken && _o_take "$e" || break
        [[ -z ${_o_parents[$c]} ]] || _o_check
        _o_leased[$id]=$c
        _o_job "$id" "$a" "$b" "$text" "$_o_taken" &
        _o_pids[$id]=$!
        text= _o_taken=
        ;;
      k)
        _o_prune
        if [[ -n ${_o_pids[$id]} ]]; then
          { _o_kill "${_o_pids[$id]}"; printf 'x %s 143\n' "$id"; } &
          # Its leader is gone at once, but who ignores the signal is not, and must not outlive us.
          _o_dying+=("${_o_pids[$id]}")
        fi
        unset "_o_pids[$id]" "_o_leased[$id]"
        ;;
      l)
        _o_take "$a" || break
        { IFS= read -r folder; IFS= read -r scope; IFS= read -r under; IFS= read -r holder; } <<<"$_o_taken"
        _o_lease "$id" "$folder" "$scope" "$holder" "$under"
        ;;
      u) _o_release "$id" ;;
      q) _o_end asked ;;
    esac
  done
  _o_end
}
