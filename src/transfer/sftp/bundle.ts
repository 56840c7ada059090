/** What is run at a remote that has a shell and GNU's tar, to move many small files as one archive. */
import { Fault, isFault } from "../../common/fault.ts";
import type { StreamedCommand } from "./types.ts";

/** Exit codes of the scripts that no program of theirs has. */
const lacking = 91;
const noDirectory = 92;
const noArchive = 93;
export const otherContent = 94;

const environment = { PATH: "/usr/bin:/bin:/usr/local/bin", LC_ALL: "C" };

/** Sends the files whose names come on standard input, relative to the root and NUL after each. */
const sendScript = [
  `case $(tar --version 2>/dev/null) in (*GNU*) ;; (*) exit ${lacking};; esac`,
  "exec tar -C / --null --no-recursion --hard-dereference --format=gnu -b 128 -cf - -T -",
].join("\n");

/**
 * Takes an archive on standard input. Its arguments: the directory to work below, the name of a directory to make there, what older
 * ones are called, those of them that others use, `keep` for permissions and times as in the archive, how `mv` treats what is there, and
 * `digest` or `size`. In the
 * archive: `dirs` (a directory in each line), `sums` (as sha256sum prints them), and the files as `f/LINE/NAME`. Nothing gets its
 * name before all digests were compared. Prints the files that could not be renamed, NUL after each.
 */
const takeScript = [
  `for p in sha256sum xargs find cmp; do command -v "$p" >/dev/null || exit ${lacking}; done`,
  `case $(tar --version 2>/dev/null; mv --version 2>/dev/null) in (*"GNU tar"*coreutils*) ;; (*) exit ${lacking};; esac`,
  `cd -- "$1" || exit ${noDirectory}`,
  "base=$PWD; t=$2; how=$5; mv=$6; compare=$7",
  'find . -maxdepth 1 -type d -name "$3*" ! -name "$4*" -exec rm -rf -- {} +',
  `rm -rf -- "./$t" && mkdir -m 700 -- "./$t" && cd -- "./$t" || exit ${noDirectory}`,
  'trap \'cd -- "$base" && rm -rf -- "./$t"\' EXIT',
  "case $how in (keep) set -- -p;; (*) set -- -m --no-same-permissions;; esac",
  `tar "$@" --no-same-owner -xf - || exit ${noArchive}`,
  'if [ "$compare" = digest ]; then',
  `  cut -b 67- sums | tr '\\n' '\\0' | xargs -0 sha256sum -- >found || exit ${noArchive}`,
  `  cmp -s found sums || { cat found; exit ${otherContent}; }`,
  "else",
  `  [ "$(find f -type f | wc -l)" = "$(wc -l <sums)" ] || exit ${noArchive}`,
  "fi",
  "sync -f . 2>/dev/null",
  "i=0",
  "while IFS= read -r d; do",
  '  find "f/$i" -type f -exec mv "$mv" -t "$d" -- {} + 2>>words',
  '  if [ "$mv" = -n ]; then',
  `    find "f/$i" -type f -exec sh -c 'd=$1; shift; for x; do y=$d/\${x##*/}; [ ! -d "$y" ] || echo cannot overwrite directory >&2; cmp -s "$x" "$y" && rm -- "$x"; done' sh "$d" {} + 2>>words`,
  "  fi",
  "  i=$((i+1))",
  "done <dirs",
  "sync -f . 2>/dev/null",
  "find f -type f -print0",
  "head -c 1000 words >&2",
  "exit 0",
].join("\n");

/** Standard output is the archive; on standard input come the names, as `memberName` makes them, NUL after each. */
export const sendingCommand: StreamedCommand = { argv: ["sh", "-c", sendScript], cwd: "/", environment };

/** How an absolute path is called in an archive; never like an option. */
export function memberName(path: string): string {
  return `.${path}`;
}

export interface Taking {
  /** Real path of the directory in which files wait for their names. */
  readonly base: string;
  /** Of the directory that is made there; those of other calls of this process begin with `own`, those of the job with `all`. */
  readonly name: string;
  readonly own: string;
  readonly all: string;
  readonly keepMode: boolean;
  readonly replace: boolean;
  readonly compare: "digest" | "size";
}

/** Standard input is the archive. */
export function takingCommand(taking: Taking): StreamedCommand {
  const { base, name, own, all, keepMode, replace, compare } = taking;
  const args = [base, name, all, own, keepMode ? "keep" : "usual", replace ? "-f" : "-n", compare];
  return { argv: ["sh", "-c", takeScript, "sh", ...args], cwd: "/", environment };
}

/** How a script ended. */
export interface Answer {
  readonly exitCode: number | undefined;
  readonly stderr: string;
}

/** @throws Fault for what the scripts exit with */
export function checkAnswer(what: string, { exitCode, stderr }: Answer): void {
  const words = stderr.trim().slice(0, 500);
  if (exitCode === 0) return;
  if (exitCode === lacking || exitCode === 127)
    throw new Fault("UNSUPPORTED", `${what}: no GNU tar and coreutils there`);
  if (words.includes("No space left on device") || words.includes("quota exceeded")) {
    throw new Fault("TRANSFER", `${what} could not be written: no space left there`, {
      hint: "free space there; the transfer is tried again later",
      details: { errno: "ENOSPC" },
    });
  }
  if (words.includes("Permission denied")) {
    throw new Fault("TRANSFER_REFUSED", `${what}: the remote denies it: ${words}`, {
      hint: "the account of the remote needs the right to it",
    });
  }
  // What vanished or changed is left out: it is listed anew.
  throw new Fault("TRANSFER", `${what}: the remote says: ${words}`, { details: { source_changed: true } });
}

/** A remote for files alone is none for archives. */
export function unsupportedIfNoCommands(error: unknown, what: string): unknown {
  const none =
    isFault(error, "LAUNCH", "UNSUPPORTED") || (isFault(error, "UNREACHABLE") && error.details?.["why"] === "session");
  if (!none) return error;
  return new Fault("UNSUPPORTED", `${what}: no commands there: ${error.message}`, { cause: error });
}
