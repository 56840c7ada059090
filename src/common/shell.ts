/** As one word of a POSIX shell, whatever it holds: for scripts, and for people who paste it. */
export function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
