#!/bin/sh
# Dawdles on purpose in the first attempt, then runs the command: `slow.sh SECONDS COMMAND…` sleeps while
# SITEAGENT_ATTEMPT is 1, so that a shorter time limit ends it; later attempts run the command at once.
set -eu

usage='Usage: slow.sh SECONDS COMMAND [ARGUMENT]...
Sleeps SECONDS first if the environment variable SITEAGENT_ATTEMPT (1 if unset) is 1, then runs COMMAND.'

if [ "${1:-}" = --help ]; then
  printf '%s\n' "$usage"
  exit 0
fi
if [ $# -lt 2 ]; then
  printf 'slow: a number of seconds and a command are needed\n%s\n' "$usage" >&2
  exit 64
fi

seconds=$1
attempt=${SITEAGENT_ATTEMPT:-1}
for number in "$seconds" "$attempt"; do
  case $number in
    '' | *[!0-9]*)
      printf "slow: '%s' is not a whole number (first argument and SITEAGENT_ATTEMPT must be)\n" "$number" >&2
      exit 64
      ;;
  esac
done

shift
if [ "$attempt" -le 1 ]; then
  # In the background, so that a signal is answered at once and takes the sleep along; who reads the message may signal us. By KILL:
  # between its fork and the program in it a child of the shell may swallow other signals.
  sleeper=
  trap '[ -z "$sleeper" ] || kill -KILL "$sleeper" 2>/dev/null || :; exit 143' TERM
  trap '[ -z "$sleeper" ] || kill -KILL "$sleeper" 2>/dev/null || :; exit 130' INT
  sleep "$seconds" &
  sleeper=$!
  printf 'slow: attempt %s sleeps %s seconds on purpose\n' "$attempt" "$seconds" >&2
  wait "$sleeper"
  trap - TERM INT
fi
exec "$@"
