#!/bin/sh
# siteagent recorder, portable form: first process and witness of one attempt. Usage: sh recorder.sh DIRECTORY
# DIRECTORY and the path of this file are absolute. Needs a POSIX shell, coreutils and setsid. recorder.pl is the stronger form (true subreaper, exact cause of death) with the same evidence.
# Reads DIRECTORY/plan.sh (made by plan-files.ts). Writes started/, recorder, job, out, err, timeout, warned, out.dropped, err.dropped, oom, rc.
# Says on stdout, for a runner that may be gone: guard | started PID | error … | ended.
# Where a plan keeps the environment that it finds (a batch job's), the command gets these back.
given_path=$PATH
given_locale=--unset=LC_ALL
[ "${LC_ALL+set}" != set ] || given_locale=LC_ALL=$LC_ALL
PATH=/usr/local/bin:/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

wall() { date +%s000; }

# start ticks of a process, read without any program; the name in field 2 may hold anything, also line ends
ticks() {
  line=
  pid=$1
  while IFS= read -r part || [ -n "$part" ]; do line="$line$part "; done 2>/dev/null <"/proc/$1/stat" || return 1
  [ -n "$line" ] || return 1
  set -- ${line##*) }
  alive "$pid" "$1" || return 1
  shift 19
  echo "$1"
}

# by pid and state: a process whose first thread has ended shows as a zombie while other threads run on
alive() {
  [ "$2" = Z ] || [ "$2" = X ] || return 0
  set -- "/proc/$1/task/"*
  [ $# -gt 1 ]
}

# format, pid, start ticks, boot, pid namespace, machine, wall ms
identity() {
  read -r boot </proc/sys/kernel/random/boot_id || boot=-
  machine=-
  [ ! -r /etc/machine-id ] || read -r machine </etc/machine-id
  space=$(readlink /proc/self/ns/pid) || space=[-]
  space=${space#*[}
  echo "1 $1 $(ticks "$1") $boot ${space%]} ${machine:--} $(wall)"
}

# What the job has put in the place of evidence makes way: written into a fifo or a directory it would be lost, or wait for ever.
make_way() {
  for one in "$d/$1.tmp" "$d/$1"; do
    if [ -L "$one" ] || [ -p "$one" ]; then rm -f "$one"; elif [ -d "$one" ]; then mv "$one" "$one.aside.$(wall)"; fi
  done
}

# durable replace; waits while the disk is full, as long as the directory is there
put() {
  until make_way "$1" && printf '%s\n' "$2" >"$d/$1.tmp" && sync "$d/$1.tmp" && mv -f "$d/$1.tmp" "$d/$1" && sync "$d"; do
    [ -d "$d" ] && [ "$3" = patient ] || return 1
    sleep 5
  done 2>/dev/null
}

mark() { make_way "$1" && printf '%s\n' "$2" >"$d/$1.tmp" && mv -f "$d/$1.tmp" "$d/$1"; }

fail() { echo "error $1"; exit 70; }

# ---- the witness
record() {
  umask 077
  cd /
  . "$d/plan.sh" || fail 'cannot read the plan'
  [ "$format" = 'siteagent-plan 1' ] || fail "unknown plan '$format'"
  if ! mkdir "$d/started" 2>/dev/null; then
    [ -d "$d/started" ] || fail 'cannot make the start guard'
    echo guard
    exit 125
  fi
  for name in recorder job rc; do [ ! -e "$d/$name" ] || { echo guard; exit 125; }; done
  put recorder "$(identity $$) sh" once || fail 'cannot write evidence'
  # A shell lets its background commands ignore INT and QUIT and cannot undo it; newer coreutils can.
  signals=
  env=env
  # By its path: some shells have one of their own, which cannot.
  [ ! -x /usr/bin/env ] || env=/usr/bin/env
  ! $env --default-signal true 2>/dev/null || signals=--default-signal
  trap '' HUP INT QUIT TERM PIPE USR1 USR2 TSTP TTIN TTOU ALRM
  (
    trap - HUP INT QUIT TERM PIPE USR1 USR2 TSTP TTIN TTOU ALRM
    read -r me rest </proc/self/stat
    exec </dev/null >>"$d/out" 2>>"$d/err" || exit 126
    [ -z "$cgroup" ] || echo 0 >"$cgroup/cgroup.procs" || exit 126
    # Its identity is on disk before its first instruction.
    printf '%s\n' "$(identity "$me")" >"$d/job.tmp" && mv -f "$d/job.tmp" "$d/job" || exit 126
    ulimit -S -c 0
    [ -z "$nofile" ] || ulimit -S -n "$nofile" 2>/dev/null
    read -r oom </proc/self/oom_score_adj
    [ "$oom" -ge 500 ] || echo 500 >/proc/self/oom_score_adj
    cd "$cwd" || exit 126
    umask "$mask"
    run
  ) &
  job=$!
  helper=
  if [ -n "$limit_s$cap" ]; then
    $session sh "$0" --watch "$d" "$job" >/dev/null 2>&1 </dev/null &
    helper=$!
  fi
  until [ -e "$d/job" ] || [ -z "$(ticks "$job")" ]; do sleep 0.01; done
  echo "started $job"
  wait "$job"
  code=$?
  [ -e "$d/job" ] || end_unstarted
  marker=-
  [ ! -e "$d/stop" ] || marker=stop
  if [ -e "$d/timeout" ]; then
    marker=timeout # the helper goes on: it ends what is left
  else
    end_helper
  fi
  [ -z "$cap" ] || { trim out; trim err; }
  [ "$code" = 0 ] || [ "$marker" != - ] || [ -z "$oom" ] || note_oom
  put rc "$code
1 code $code $(wall) $marker 0 0 0" patient
  [ "$marker" != timeout ] || wait "$helper"
  [ -z "$cgroup" ] || rmdir "$cgroup" 2>/dev/null
  echo ended
  [ -n "$codes" ] || return 0
  # A scheduler's accounting shows the command's code, but for those that mean something to the scheduler itself.
  case " $codes " in *" $code "*) exit 1 ;; esac
  exit "$code"
}

# It has no group of its own yet, or in a batch job: then it and its pause. They are ours until we wait for it.
end_helper() {
  [ -n "$helper" ] && ! kill -KILL -"$helper" 2>/dev/null || return 0
  # Until it stands it may begin a further pause, which nobody would end.
  kill -STOP "$helper" 2>/dev/null
  looks=0
  while [ "$looks" -lt 10000 ] && read -r rest <"/proc/$helper/stat"; do
    case ${rest##*) } in [TtZX]*) break ;; esac
    looks=$((looks + 1))
  done 2>/dev/null
  for one in $(tree "$helper:$(ticks "$helper")"); do kill -KILL "${one%%:*}" 2>/dev/null; done
}

# The kernel counts what it kills for lack of memory, before it does it.
note_oom() {
  rest=${oom#* }
  killed=0
  while read -r key value; do [ "$key" != oom_kill ] || killed=$((value - ${rest%% *})); done 2>/dev/null <"${rest#* }"
  [ "$killed" -le 0 ] || mark oom "1 ${oom%% *} $killed"
}

# It ended before its first instruction.
end_unstarted() {
  end_helper
  put rc "$code
1 launch $code $(wall) - 1 0 0 the first process could not be set up (output files, control group, evidence)" patient
  exit 0
}

# ---- limit and output cap, in a process of its own
watch() {
  . "$d/plan.sh"
  begun=$(ticks "$job") || exit 0
  now=$(uptime_s)
  end=
  [ -z "$limit_s" ] || end=$((now + limit_s))
  warn=
  [ -z "$warn_s" ] || warn=$((now + warn_s))
  pause=1
  while :; do
    left=3600
    now=$(uptime_s)
    [ -z "$end" ] || left=$((end - now))
    [ "$left" -gt 0 ] || break
    if [ -n "$warn" ] && [ "$warn" -le "$now" ]; then
      warn=
      warn_job
    fi
    [ -z "$warn" ] || [ $((warn - now)) -ge "$left" ] || left=$((warn - now))
    [ -z "$cap" ] || { trim out; trim err; }
    [ "$left" -lt "$pause" ] || left=$pause
    sleep "$left"
    # The recorder ends us; where it was killed nobody does, and with the job there is no limit left to hold.
    [ "$(ticks "$job")" = "$begun" ] || exit 0
    [ "$pause" -ge 10 ] || pause=$((pause + 1))
  done
  [ ! -e "$d/rc" ] || exit 0
  before=$(ticks "$job") || exit 0
  mark timeout "$(wall)"
  tracked=$(tree "$job:$before")
  signal_tracked TERM
  signal_tracked CONT
  waited=0
  while [ "$waited" -lt "$grace_s" ] && [ -n "$(living)" ]; do
    sleep 1
    waited=$((waited + 1))
  done
  [ -z "$cgroup" ] || echo 1 >"$cgroup/cgroup.kill"
  # Its whole group at once: what forks and ends faster than we look has no number that could be killed.
  [ "$(ticks "$job")" != "$before" ] || kill -KILL -"$job" 2>/dev/null
  round=0
  while [ "$round" -lt 60 ] && tracked=$(tree $(living)) && [ -n "$tracked" ]; do
    signal_tracked STOP
    tracked=$(tree $tracked)
    signal_tracked KILL
    sleep 0.2
    round=$((round + 1))
  done
}

# The signal before the limit; none to what is being ended anyway.
warn_job() {
  [ ! -e "$d/stop" ] && [ ! -e "$d/rc" ] || return 0
  mark warned "$(wall)"
  tracked=$job:$begun
  [ "$warn_to" != all ] || tracked=$(tree "$tracked")
  # The command last: its end is ours.
  case $tracked in *" "*) tracked="${tracked#* } ${tracked%% *}" ;; esac
  signal_tracked "$warn_signal"
}

# "PID:TICKS …" of the given processes, all their descendants and all of the job's session; read without any program
tree() {
  found=" $* "
  table=
  for stat in /proc/[0-9]*/stat; do
    line=
    while IFS= read -r part || [ -n "$part" ]; do line="$line$part "; done 2>/dev/null <"$stat" || continue
    pid=${stat#/proc/}
    pid=${pid%/stat}
    set -- ${line##*) }
    [ $# -ge 20 ] && alive "$pid" "$1" || continue
    table="$table $pid:$2:$4:${20}"
  done
  grown=1
  while [ "$grown" = 1 ]; do
    grown=0
    for row in $table; do
      pid=${row%%:*}
      row=${row#*:}
      parent=${row%%:*}
      row=${row#*:}
      case $found in *" $pid:"*) continue ;; esac
      case $found in
        *" $parent:"*) ;;
        *" $job:"*) [ "${row%%:*}" = "$job" ] || continue ;;
        *) continue ;;
      esac
      found="$found$pid:${row#*:} "
      grown=1
    done
  done
  echo $found
}

# of the tracked, those that are still the same process
living() {
  for one in $tracked; do [ "$(ticks "${one%%:*}")" != "${one#*:}" ] || echo "$one"; done
}

# only to processes that are the same as when they were found
signal_tracked() {
  for one in $tracked; do [ "$(ticks "${one%%:*}")" != "${one#*:}" ] || kill -"$1" "${one%%:*}" 2>/dev/null; done
}

uptime_s() { read -r up rest </proc/uptime; echo "${up%.*}"; }

# Beyond the cap the middle is taken out of the file; head and a rolling tail stay, offsets stay true.
trim() {
  size=$(stat -c %s "$d/$1" 2>/dev/null) || return 0
  head=65536
  [ "$cap" -ge 262144 ] || head=$((cap / 4))
  from=$head
  hole=0
  [ ! -r "$d/$1.dropped" ] || read -r rest hole <"$d/$1.dropped"
  kept=$size
  [ "$hole" -eq 0 ] || { kept=$((head + size - hole)); from=$hole; }
  [ "$kept" -gt "$cap" ] || return 0
  to=$((size - (cap - head) / 2))
  if ! fallocate -p -o "$from" -l $((to - from)) "$d/$1" 2>/dev/null; then
    truncate -s "$head" "$d/$1"
    to=$size
  fi
  mark "$1.dropped" "$head $to"
}

main() {
  if [ "$1" = --watch ]; then
    d=$2
    job=$3
    watch
  else
    d=$1
    record
  fi
  exit 0
}
main "$@"
