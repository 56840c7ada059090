#!/bin/bash
# Proves the README's two commands on a minimal Debian: git, Node 20, npm 9, nothing else (no ps, no compiler), as a
# normal user with an empty HOME, each command in a clone of HEAD of its own.
#
#   sudo scripts/prove-minimal.sh [demo] [test] [ci]        demo and test when none is named
#
# `ci` runs .ci/run as root instead, which may install the Debian packages that it requires.
# Needs root, mmdebstrap and a network that reaches a Debian mirror and an npm registry. The mirror, proxies, certificates
# and the registry are those of the calling machine. The root is kept packed in .cache/; what runs is in a namespace of
# its own, so that no process and no mount outlives this script.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
suite=${SUITE:-trixie} # Debian 13: Node 20, npm 9; SUITE=bookworm has Node 18, the oldest that may begin
cache=$repository/.cache
limit=20m
newcomer=1000 # uid of the normal user

say() { printf 'prove-minimal: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# --- outside -------------------------------------------------------------------------------------------------------

# The mirror from which this machine has its own release; mmdebstrap knows a default for other machines.
mirror() {
  local codename
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk -v codename="$codename" '$2 == codename && $3 == "main" && !found { print $1; found = 1 }'
}

make_tarball() {
  local tarball=$1 option options=()
  command -v mmdebstrap >/dev/null || fail "mmdebstrap is not installed (Debian: apt-get install mmdebstrap)"
  while read -r option; do
    options+=("--aptopt=$option")
  done < <(apt-config dump 2>/dev/null | grep -iE '^Acquire::https?::Proxy ')
  say "making a minimal $suite root (once, about a minute)"
  mmdebstrap --quiet --format=tar --variant=minbase --include=git,nodejs,npm,ca-certificates "${options[@]}" \
    "$suite" "$tarball.part" $(mirror)
  mv "$tarball.part" "$tarball"
}

# What of the calling machine's ways to the network its programs inside need: names, proxies, certificates, registry.
carry_network() {
  local root=$1 file name value
  for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ -r "$file" ] && rm -f "$root$file" && cp -L "$file" "$root$file"
  done
  : >"$root/environment"
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -n "${!name:-}" ] && printf '%s=%s\n' "$name" "${!name}" >>"$root/environment"
  done
  if [ -r "${NODE_EXTRA_CA_CERTS:-}" ]; then
    cp -L "$NODE_EXTRA_CA_CERTS" "$root/etc/ssl/certs/caller.pem"
    echo NODE_EXTRA_CA_CERTS=/etc/ssl/certs/caller.pem >>"$root/environment"
  fi
  command -v npm >/dev/null || return 0
  for name in registry proxy https-proxy noproxy cafile; do
    value=$(cd / && npm config get "$name" 2>/dev/null || true)
    case $value in '' | null | undefined) continue ;; esac
    if [ "$name" = cafile ]; then
      cp -L "$value" "$root/etc/ssl/certs/npm.pem"
      value=/etc/ssl/certs/npm.pem
    fi
    printf 'npm_config_%s=%s\n' "${name//-/_}" "$value" >>"$root/environment"
  done
}

outside() {
  [ "$(id -u)" = 0 ] || fail "must run as root: it makes a root directory and mounts"
  local what=("$@") tarball=$cache/minimal-$suite.tar name
  [ ${#what[@]} -gt 0 ] || what=(demo test)
  for name in "${what[@]}"; do
    case $name in demo | test | ci) ;; *) fail "unknown command '$name'; one of demo, test, ci" ;; esac
  done
  mkdir -p "$cache"
  [ -f "$tarball" ] || make_tarball "$tarball"
  work=$(mktemp -d "$cache/minimal.XXXXXX")
  child=
  trap '[ -z "$child" ] || kill -KILL "$child" 2>/dev/null; wait; rm -rf --one-file-system "$work"' EXIT
  trap 'exit 130' INT TERM HUP
  mkdir "$work/root"
  tar -C "$work/root" -xf "$tarball"
  carry_network "$work/root"
  git -C "$repository" bundle create --quiet "$work/root/siteagent.bundle" HEAD
  say "proving commit $(git -C "$repository" rev-parse --short HEAD)"
  unshare --mount --pid --fork --kill-child --propagation private "${BASH_SOURCE[0]}" --inside "$work/root" "${what[@]}" </dev/null &
  child=$!
  local code=0
  wait "$child" || code=$?
  child=
  return "$code"
}

# --- inside of the namespace ---------------------------------------------------------------------------------------

# Runs a command in the root as this uid, with an environment that has nothing of the caller but the way to the network.
run_as() {
  local uid=$1 root=$2 home=$3 path=/usr/local/bin:/usr/bin:/bin environment
  shift 3
  [ "$uid" != 0 ] || path=/usr/local/sbin:/usr/sbin:/sbin:$path
  mapfile -t environment <"$root/environment"
  timeout --kill-after=10s "$limit" chroot "$root" /usr/bin/setpriv --reuid="$uid" --regid="$uid" --clear-groups \
    /usr/bin/env -i "HOME=$home" LANG=C.UTF-8 "PATH=$path" "${environment[@]}" "$@"
}

as_user() { run_as "$newcomer" "$@"; }

mount_system() {
  local root=$1
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
  mount --bind "$root/dev/pts/ptmx" "$root/dev/ptmx"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
}

check_root() {
  local root=$1 program node npm wanted=20
  [ "$suite" != bookworm ] || wanted=18
  node=$(as_user "$root" / node --version)
  npm=$(as_user "$root" / npm --version)
  case $node in v$wanted.*) ;; *) fail "the root has Node $node, not $wanted: choose another SUITE than '$suite'" ;; esac
  case $npm in 9.*) ;; *) fail "the root has npm $npm, not 9: choose another SUITE than '$suite'" ;; esac
  for program in ps cc gcc make initdb sshd systemd-analyze; do
    if as_user "$root" / sh -c "command -v $program" >/dev/null; then fail "the root is not minimal: it has $program"; fi
  done
  say "root: $(. "$root/etc/os-release" && printf '%s' "$PRETTY_NAME"), Node $node, npm $npm, no ps, no compiler"
}

# The pids of the user's processes, waiting some seconds for what is just ending.
left_over() {
  local tries=0 found
  while :; do
    found=$(find /proc -maxdepth 1 -name '[0-9]*' -uid "$newcomer" -printf '%f ' 2>/dev/null)
    [ -z "$found" ] && return 0
    [ $((tries += 1)) -gt 50 ] && break
    sleep 0.2
  done
  for pid in $found; do printf '%s (%s) ' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"; done
}

prove() {
  local root=$1 name=$2 home=/home/clone-$2 command uid=$newcomer log code=0 started=$SECONDS remaining
  case $name in demo) command="npm run demo" ;; test) command="npm test" ;; ci) command=.ci/run uid=0 ;; esac
  mkdir -p "$root$home"
  chown "$uid:$uid" "$root$home"
  log=$root/$name.log
  run_as "$uid" "$root" "$home" sh -c "cd && git clone --quiet /siteagent.bundle siteagent" 2>/dev/null
  run_as "$uid" "$root" "$home" sh -c "cd ~/siteagent && exec $command" 2>&1 | tee "$log" || code=$?
  remaining=$(left_over)
  if [ "$code" != 0 ]; then
    say "FAILED '$command': ended with $code after $((SECONDS - started)) s"
    return 1
  fi
  if [ -n "$remaining" ]; then
    say "FAILED '$command': left processes behind: $remaining"
    return 1
  fi
  say "proven '$command': exit 0 after $((SECONDS - started)) s from an empty HOME, no process left; last line: $(tail -n 1 "$log")"
}

inside() {
  local root=$1 name failed=0
  shift
  mount -t proc proc /proc # of this namespace
  mount_system "$root"
  echo "newcomer:x:$newcomer:$newcomer::/home/newcomer:/bin/sh" >>"$root/etc/passwd"
  echo "newcomer:x:$newcomer:" >>"$root/etc/group"
  check_root "$root"
  for name in "$@"; do
    prove "$root" "$name" || failed=1
  done
  exit "$failed"
}

if [ "${1:-}" = --inside ]; then
  shift
  inside "$@"
else
  outside "$@"
fi
