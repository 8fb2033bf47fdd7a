# One folder copied into another and proved, in passes. A list holds one entry a line: its names are encoded, so that
# none of them has a blank. $work is this volume's folder of opsctl's state; everything in it is its owner's alone.
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
umask 077
_encode() { sed -z 's/%/%25/g; s/ /%20/g; s/\t/%09/g; s/\r/%0D/g; s/\n/%0A/g' | tr '\0' '\n'; }
_decode() { tr '\n' '\0' | sed -z 's/%0A/\n/g; s/%0D/\r/g; s/%09/\t/g; s/%20/ /g; s/%25/%/g'; }
_fail() { printf '%s\n' "$*" >&2; exit 1; }
_named() { printf '%s\n' "$1" | _decode | tr -d '\0'; }

# $1 folder: kind,mode,uid,gid,size,mtime,ctime,inode · path · where a link points; a socket belongs to its server
scan() {
  (cd -- "$1" && find . ! -type s -printf '%y,%m,%U,%G,%s,%T@,%C@,%i\0%p\0%l\0') | _encode | paste -d' ' - - - |
    sort -k2,2
  return "${PIPESTATUS[0]}"
}
# $1 a scan: what two sides are compared by before anything is read
looks() {
  awk '{ split($1, h, ","); print h[1] "," h[2] "," h[3] "," h[4] "," (h[1] == "f" ? h[5] "," h[6] : ""), $2, $3 }' \
    "$1" | sort
}

# $1 target, $2 its device:inode, "" for a new one, "ours" for the one in the record, $3 the record without its last line, $4 the host's folder: the
# target is ours from now on
claim() {
  local now
  [ "$2" != ours ] || set -- "$1" "$(sed -n 's/^folder //p' "$work/record")" "$3" "$4"
  [ -d "$1" ] || (umask 022; mkdir -p -- "$1") || exit 1
  now=$(stat -c %d:%i -- "$1") || exit 1
  [ -z "$2" ] || [ "$now" = "$2" ] || _fail "$1 is another folder than it was"
  [ -n "$2" ] || [ -z "$(ls -A -- "$1")" ] || _fail "$1 is not empty any more"
  record "$3" "$(stat -c %d:%i -- "$4")"
}
record() { # $1 lines, $2 the host's folder as device:inode
  mkdir -p -- "$work" && printf '%s\nfolder %s\n' "$1" "$2" >"$work/record.part" &&
    sync -- "$work/record.part" && mv -f -- "$work/record.part" "$work/record" && sync -- "$work/record" ||
    _fail "the record of this volume cannot be written in $work"
}

# $1 from, $2 to, $3 first or last: what looks different, and what $work/again names
copy() {
  local made laid
  scan "$1" >"$work/from" || [ "$3" = first ] || _fail "$1 cannot be read"
  scan "$2" >"$work/to" || _fail "$2 cannot be read"
  looks "$work/from" >"$work/from.looks"; looks "$work/to" >"$work/to.looks"
  { comm -23 "$work/from.looks" "$work/to.looks" | cut -d' ' -f2; cat -- "$work/again" 2>/dev/null; } | sort -u \
    >"$work/todo"
  rm -f -- "$work/again"
  # What is gone, and what is of another kind now, makes room first.
  awk 'FILENAME == ARGV[1] { split($1, h, ","); kind[$2] = h[1]; next }
    { split($1, h, ","); if (kind[$2] != h[1]) print $2 }' "$work/from" "$work/to" >"$work/gone"
  _decode <"$work/gone" | (cd -- "$2" && xargs -0 -r rm -rf --) || _fail "what is gone could not be removed in $2"
  [ -s "$work/todo" ] || return 0
  awk 'FILENAME == ARGV[1] { want[$1]; next } $2 in want { split($1, h, ","); n++; if (h[1] == "f") b += h[5] }
    END { printf "@@todo %d %.0f\n", n, b }' "$work/todo" "$work/from"
  _decode <"$work/todo" >"$work/todo.names"
  : >"$work/said"
  (while sleep 1 >/dev/null; do grep '^@@at ' "$work/said" | tail -n 1; done) & telling=$!
  gently=(); [ "$3" = last ] || gently=(nice -n 15)
  "${gently[@]}" tar -C "$1" --null --no-recursion --ignore-failed-read --format=posix --numeric-owner --acls --xattrs \
    --xattrs-include='*' --sparse --checkpoint=500 --checkpoint-action='echo=@@at %u' -T "$work/todo.names" -cf - \
    2>"$work/said" | "${gently[@]}" tar -C "$2" --numeric-owner --same-owner -p --acls --xattrs --xattrs-include='*' \
    --delay-directory-restore -xf - 2>"$work/laid"
  made=${PIPESTATUS[0]} laid=${PIPESTATUS[1]}
  kill "$telling" 2>/dev/null; wait "$telling" 2>/dev/null
  [ "$laid" -eq 0 ] || _fail "$(grep -v '^@@' "$work/laid" | head -n 1)"
  # While the service runs, files change and vanish under the copy: the next pass takes them up.
  [ "$made" -eq 0 ] || [ "$3" = first ] || _fail "$(grep -v '^@@' "$work/said" | head -n 1)"
  return 0
}

# $1 folder, $2 volume or host, $3 first or last: $work/$2.sums has path · kind,mode,uid,gid,size · digest · link.
# A digest of before is believed where inode, size and ctime are what they were. Every write moves ctime, but one
# through a mapping whose page is dirty already; the sync ends those, and so only what is older than it is kept.
sums() {
  local since known=$work/$2.known
  touch -- "$work/now" && since=$(find "$work/now" -printf %C@) || _fail "$work cannot be written"
  sync -f -- "$1" 2>/dev/null || sync
  [ -e "$known" ] || : >"$known"
  scan "$1" >"$work/scan" || [ "$3" = first ] || _fail "$1 cannot be read"
  awk 'FILENAME == ARGV[1] { known[$1 " " $2]; next }
    { split($1, h, ","); if (h[1] == "f" && !((h[7] "," h[8] "," h[5] " " $2) in known)) print $2 }' \
    "$known" "$work/scan" >"$work/unread"
  printf '@@unread %s %s\n' "$2" "$(wc -l <"$work/unread")"
  rm -rf -- "$work/parts" && mkdir -- "$work/parts" || exit 1
  _decode <"$work/unread" | (cd -- "$1" && xargs -0 -r -n 256 -P "$(nproc)" bash -c \
    'b2sum -z -l 128 -- "$@" >"$0/$$" 2>/dev/null' "$work/parts")
  cat -- "$work"/parts/* 2>/dev/null | _encode | sed 's/%20%20/ /' >"$work/read"
  rm -rf -- "$work/parts"
  awk -v since="$since" -v keep="$known.part" '
    FILENAME == ARGV[1] { sum[$1 " " $2] = $3; next }
    FILENAME == ARGV[2] { fresh[$2] = $1; next }
    { split($1, h, ","); link = $3; what = h[1] "," h[2] "," h[3] "," h[4]
      if (h[1] != "f") { print $2, what ",", "-", link; next }
      key = h[7] "," h[8] "," h[5] " " $2
      found = key in sum ? sum[key] : fresh[$2]
      if (found == "") { print $2 >"/dev/stderr"; next }
      print $2, what "," h[5], found, link
      if ((h[7] "") < (since "")) print key, found >keep }' \
    "$known" "$work/read" "$work/scan" 2>"$work/lost" | sort >"$work/$2.sums"
  [ ! -e "$known.part" ] || mv -f -- "$known.part" "$known"
  [ ! -s "$work/lost" ] || [ "$3" = first ] || _fail "$(_named "$(head -n 1 "$work/lost")") cannot be read in $1"
  return 0
}
sum_of() { local sum; sum=$(b2sum -l 128 <"$work/$1.sums") && printf %s "${sum%% *}"; }
side() { # $1 volume or host: files, bytes, checksum of them all, in whatever order they were read
  printf '@@side %s %s %s\n' "$1" "$(awk '{ split($2, h, ","); if (h[1] == "f") { n++; b += h[5] } }
    END { printf "%d %.0f", n, b }' "$work/$1.sums")" "$(sum_of "$1")"
}

# Containers that were stopped for this start again when the owner of this script goes away.
again() { [ $# -eq 0 ] || setsid -f docker start "$@" >/dev/null 2>&1 </dev/null; exit 143; }

# $1 from, $2 its name, $3 to, $4 its name: equal in the end, or it fails
prove() {
  local round
  for round in 1 2 3; do
    copy "$1" "$3" last
    sync -f -- "$3" 2>/dev/null || sync
    sums "$1" "$2" last; sums "$3" "$4" last
    cmp -s "$work/$2.sums" "$work/$4.sums" && { side "$2"; side "$4"; return 0; }
    comm -3 "$work/$2.sums" "$work/$4.sums" | tr -d '\t' | cut -d' ' -f1 | sort -u >"$work/differ"
    # Only what the source has can be copied once more; the rest is gone after the next pass.
    awk 'FILENAME == ARGV[1] { there[$1]; next } $1 in there' "$work/$2.sums" "$work/differ" >"$work/again"
    printf '@@differ %s\n' "$(wc -l <"$work/differ")"
  done
  _fail "$(wc -l <"$work/differ") of the files differ after three passes, first $(_named "$(head -n 1 "$work/differ")")"
}
