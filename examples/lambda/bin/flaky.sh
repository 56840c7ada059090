#!/bin/sh
# Fails on purpose in the first attempts, then runs the command: `flaky.sh N COMMAND…` exits 75 ("try again") while
# SITEAGENT_ATTEMPT is below N. For demonstrations of retries; the science knows nothing of it.
set -eu

usage='Usage: flaky.sh N COMMAND [ARGUMENT]...
Exits 75 while the environment variable SITEAGENT_ATTEMPT (1 if unset) is below N, else runs COMMAND.'

if [ "${1:-}" = --help ]; then
  printf '%s\n' "$usage"
  exit 0
fi
if [ $# -lt 2 ]; then
  printf 'flaky: a number and a command are needed\n%s\n' "$usage" >&2
  exit 64
fi

first_good=$1
attempt=${SITEAGENT_ATTEMPT:-1}
for number in "$first_good" "$attempt"; do
  case $number in
    '' | *[!0-9]*)
      printf "flaky: '%s' is not a whole number (first argument and SITEAGENT_ATTEMPT must be)\n" "$number" >&2
      exit 64
      ;;
  esac
done

shift
if [ "$attempt" -lt "$first_good" ]; then
  printf 'flaky: attempt %s fails on purpose; attempt %s will run the command\n' "$attempt" "$first_good" >&2
  exit 75
fi
exec "$@"
