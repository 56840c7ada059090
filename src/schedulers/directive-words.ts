/** What the directives of schedulers that read quotes in them (PBS, Grid Engine) have in common. Pure. */

/** As one word of a directive, where both kinds of quotes stand for what is between them and nothing escapes one. */
export function directiveWord(word: string): string {
  if (/^[\w@%+=:,./^()[\]$-]+$/.test(word)) return word;
  return word.includes("'") ? `"${word}"` : `'${word}'`;
}

/** What cannot be one word of a directive: with PBS what holds both kinds of quotes, with Grid Engine, which drops any inside of others, one. */
export function unquotable(values: readonly unknown[], readers: "pbs" | "sge"): readonly string[] {
  const isImpossible = (value: string): boolean =>
    readers === "sge" ? /['"]/.test(value) : value.includes("'") && value.includes('"');
  return values
    .filter((value): value is string => typeof value === "string" && isImpossible(value))
    .map(
      (value) => `qsub cannot be given ${readers === "sge" ? "quotes" : "both kinds of quotes"} in one word: ${value}`,
    );
}

/** Native options that are no options, or that are set by the adapter itself (`own`). */
export function nativeProblems(native: readonly string[], own: RegExp): readonly string[] {
  const first = native[0];
  return [
    ...(first === undefined || first.startsWith("-") ? [] : [`the native option '${first}' does not begin with '-'`]),
    ...native.filter((word) => own.test(word)).map((word) => `the native option '${word}' is set by the agent itself`),
  ];
}

/** `HH:MM:SS`, hours without bound. Whole seconds, rounded up, at least one. */
export function clockOf(seconds: number): string {
  const whole = Math.max(1, Math.ceil(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
}

/** Seconds of `[[HH:]MM:]SS`, a fraction dropped; undefined for anything else. */
export function secondsOf(text: string | undefined): number | undefined {
  const parts = /^(?:(?:(\d+):)?(\d+):)?(\d+)(?:\.\d+)?$/.exec(text ?? "");
  return parts ? Number(parts[1] ?? 0) * 3600 + Number(parts[2] ?? 0) * 60 + Number(parts[3]) : undefined;
}

/** Units of 1024 bytes, rounded up: nobody gets less than was asked for. */
export function kibibytes(bytes: number): number {
  return Math.ceil(bytes / 1024);
}

/** Is the index in `2`, `0-3,7`, `9-15:2`? */
export function inRanges(ranges: string | undefined, index: number): boolean {
  return (ranges ?? "").split(",").some((range) => {
    const parts = /^\s*(\d+)(?:-(\d+)(?::(\d+))?)?\s*$/.exec(range);
    if (!parts) return false;
    const first = Number(parts[1]);
    const step = Number(parts[3] ?? 1) || 1;
    return index >= first && index <= Number(parts[2] ?? first) && (index - first) % step === 0;
  });
}
