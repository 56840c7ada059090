/**
 * How long nothing may come from the other end: a line that is dead is noticed sooner by the connection itself, and one whose
 * bandwidth is shared by many jobs may be silent for minutes.
 */
const silenceS = 900;

/**
 * What every run has: named files alone (`--files-from`), by their relative names, links followed (paths were looked at before, and
 * digests are compared after), nothing but regular files. `--ignore-times`: sizes and times decide nothing, what lies there is at most
 * a basis for the difference. Lines as `program.ts` reads them, at once.
 */
export function commonOptions(partial: string): readonly string[] {
  return [
    "--protect-args",
    "--relative",
    "--no-implied-dirs",
    "--copy-links",
    "--ignore-times",
    `--partial-dir=${partial}`,
    `--timeout=${silenceS}`,
    "--outbuf=L",
    "--out-format=%i %n",
  ];
}

/** Where rsync keeps what has come of a file, beside it: always the same for the same names, and none of them. */
export function partialDirectory(names: readonly string[]): string {
  const taken = new Set(names.flatMap((name) => name.split("/")));
  let directory = ".part-rsync";
  while (taken.has(directory)) directory += "-";
  return directory;
}
