/**
 * What is said to the shell at the other end: how a command is started there so that its answer cannot be mistaken for anything else.
 *
 * A server hands the text of an `exec` request to the account's login shell, whichever that is, and that shell reads rc files first, which
 * may print anything. Therefore
 *
 * - the text itself (`bootstrap`) is the same for every command but for a random key, and made of what sh, bash, zsh, csh and fish read
 *   alike: one word in single quotes without `'`, `!`, backslash and line end. It replaces the login shell by `/bin/sh` with an empty
 *   environment. Arguments, variables and input never stand in it: process lists show it;
 * - the script comes as the first line of standard input and counts only with the key in front: if an rc file has eaten it, nothing runs;
 * - both output streams are framed by lines with a second random key, which only standard input has brought: what was printed before
 *   `begin` (banners, rc files) and after `end` (what a process left behind prints) is no part of the answer, and without the line
 *   `end CODE` there is no exit code. What a process of an rc file writes into the open streams in between is not told apart.
 *
 * The script runs the command in a session and process group of its own and stays its parent. It ends the group (TERM, grace, KILL) when the
 * time is over, and at once (KILL) when its standard input ends, which is what a cancelled call and a lost connection come to: a closed
 * channel alone would leave the command running. A process that ignores TERM, made before the command, stays in the group until the script
 * kills that: so long its number cannot become somebody else's.
 */
import { randomBytes } from "node:crypto";
import type { RunRequest } from "../types.ts";

/** Tools of the host itself; the command's own PATH does not count for them. */
const toolPath = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin";
/** Linux takes no single argument or variable of that size (MAX_ARG_STRLEN with pages of 4 KiB). */
export const largestArgumentBytes = 131_072;
/** A helper process of the script ends by itself when nobody has ended it so long after all should be over. */
const spareS = 120;
/** Variables that the shells in between set by themselves, or do not let be set: `env` puts them in order. */
const shellsOwn = ["PWD", "OLDPWD", "SHLVL", "_"] as const;
const notAssignable =
  /^(BASH.*|COLUMNS|DIRSTACK|EUID|FUNCNAME|GROUPS|HISTCMD|IFS|LINENO|LINES|OPT[A-Z]+|PPID|PS4|RANDOM|SECONDS|SHELLOPTS|UID)$/;

export interface RemoteCall {
  /** The text of the `exec` request. */
  readonly command: string;
  /** What is written to standard input first. */
  readonly preamble: string;
  /** Begins every frame line of both streams. */
  readonly key: string;
}

/** How `request` is said to the other end. `graceMs`: between TERM and KILL. Pure but for the two random keys. */
export function remoteCall(request: RunRequest, graceMs: number): RemoteCall {
  const { command, opener } = shellOpening();
  const key = newKey();
  return { command, preamble: `${opener}${scriptOf(request, graceMs, key)}\n`, key };
}

/** The text of an `exec` request whose shell carries out the first line of its input, if that begins with `opener`. */
export function shellOpening(): { readonly command: string; readonly opener: string } {
  const opener = newKey();
  return {
    command: `exec /usr/bin/env -i /bin/sh -c 'IFS= read -r s; case $s in (${opener}*) eval "\${s#${opener}}";; esac'`,
    opener,
  };
}

/** A word that nobody else can say. */
export function newKey(): string {
  return `k${randomBytes(16).toString("hex")}`;
}

/** One word of a POSIX shell on one line. `$n` is a line end there. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", `'\\''`).replaceAll("\n", `'"$n"'`)}'`;
}

function scriptOf(request: RunRequest, graceMs: number, key: string): string {
  const [program] = request.argv;
  // Fractions only where they matter: POSIX knows whole seconds.
  const limitS =
    request.timeoutMs < 10_000 ? (request.timeoutMs / 1000).toFixed(3) : Math.ceil(request.timeoutMs / 1000);
  const spare = Math.ceil((request.timeoutMs + graceMs) / 1000) + spareS;
  const input = request.stdin === undefined ? undefined : Buffer.byteLength(request.stdin);
  const pass = [
    ...shellsOwn.flatMap((name) => ["-u", name]),
    ...entriesOf(request, goesByEnv).map(([name, value]) => `${name}=${value}`),
  ];
  const words = (list: readonly string[]): string => list.map(shellWord).join(" ");
  return [
    `m=${key}`,
    `n=$(printf '\\012_')`,
    "n=${n%_}",
    `PATH=${toolPath}`,
    // A frame line on both streams.
    `say() { printf '\\n%s %s\\n' "$m" "$1"; printf '\\n%s %s\\n' "$m" "$1" >&4; }`,
    `none() { say "none $1"; exit; }`,
    // What shells themselves have to say of signals goes nowhere.
    "exec 3<&0 </dev/null 4>&2 2>/dev/null",
    "S=$(command -v setsid) && Z=$(command -v sleep) && E=$(command -v env) && command -v head >/dev/null || none TOOLS",
    `cd -- ${shellWord(request.cwd)} || none CWD`,
    "f=ENOENT",
    `look() { [ -f "$1" ] && [ -x "$1" ] && return; [ ! -e "$1" ] || f=EACCES; return 1; }`,
    ...lookFor(program, request.environment["PATH"] ?? "/bin:/usr/bin"),
    // To the group of the command, which may be about to become one.
    'hit() { kill "-$1" "-$p" || kill "-$1" "$p"; }',
    // To the script itself, by number and start time.
    `born() { read -r x </proc/$$/stat && set -f && set -- $x && shift 21 && echo "$1"; }; T=$(born)`,
    `up() { [ "$(born)" = "$T" ] && kill "-$1" "$$"; }`,
    `o= s=; trap 'case $o in "") o=time;; time) o=late;; esac' ALRM; trap 'o=cut' TERM HUP`,
    `go() { exec 2>&4 3<&-; trap - ALRM TERM HUP; read -r a b </proc/self/stat; say "begin $a"; exec 4>&-; ${[
      `set -- ${words(request.argv)}`,
      `set -- "$S" /bin/sh -c '( (trap "" TERM HUP INT; exec "$0" "$1" </dev/null >/dev/null 2>&1) & ); shift; exec "$@"' "$Z" ${spare} "$E" ${words(pass)} "$@"`,
      ...entriesOf(request, (name) => !goesByEnv(name)).map(([name, value]) => `export ${name}=${shellWord(value)}`),
      `exec "$@"`,
    ].join("; ")}; }`,
    ...(input === undefined
      ? ["go & p=$!", "(exec >/dev/null 4>&1; cat <&3; up TERM || hit KILL) & w=$!"]
      : [`{ exec 4>&-; head -c ${input} <&3; exec >/dev/null; (cat <&3; up TERM) & } | go & p=$! w=`]),
    `(exec >/dev/null 3<&- 4>&1; b=$!; nap() { "$Z" "$1" & wait "$!"; b=$!; }; trap '[ "$!" = "$b" ] || kill "$!"; exit' USR1; nap ${limitS}; up ALRM || hit TERM; nap ${graceMs / 1000}; up ALRM || hit KILL) & t=$!`,
    `while :; do wait "$p"; c=$?; [ "$o" != "$s" ] || break; s=$o; ${[
      // A trap has woken it. Was it over in that very moment, its code was kept for whoever asks again (127: nobody knows it).
      `kill -0 "$p" || { wait "$p"; r=$?; [ "$r" = 127 ] || c=$r; break; }`,
      "case $o in (time) hit TERM;; (*) hit KILL;; esac",
    ].join("; ")}; done`,
    // Those who may use the group's number end before it is given back. By a signal that the script itself does not catch: one that it
    // does is lost on a process that was forked in this very moment.
    "kill -USR1 $t $w",
    "hit KILL",
    'say "end $c ${o:-none}"',
  ].join("; ");
}

/** Finds the program as `execvp` would, so that "not there" is told from an exit code of the command. */
function lookFor(program: string, path: string): readonly string[] {
  if (program.includes("/")) return [`look ${shellWord(program)} || none "$f"`];
  return [
    `w=1; set -f; IFS=:; for d in ${pathWord(path)}; do look "\${d:-.}/"${shellWord(program)} && w=0 && break; done; unset IFS; set +f`,
    '[ "$w" = 0 ] || none "$f"',
  ];
}

/** Split at its colons by the shell: as an unquoted variable. */
function pathWord(path: string): string {
  return `$(printf '%s' ${shellWord(path)})`;
}

function entriesOf(request: RunRequest, which: (name: string) => boolean): readonly (readonly [string, string])[] {
  return Object.entries({ LC_ALL: "C", ...request.environment }).filter(([name]) => which(name));
}

/** Also whatever is no name to a shell. */
function goesByEnv(name: string): boolean {
  return (shellsOwn as readonly string[]).includes(name) || notAssignable.test(name) || !/^[A-Za-z_]\w*$/.test(name);
}

/** Kills the group that `begin` named, for a script that does not do it itself any more. */
export function killGroup(group: number): RunRequest["argv"] {
  return ["/bin/sh", "-c", `kill -KILL -${group} 2>/dev/null`];
}
