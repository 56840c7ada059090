/** OpenSSH's patterns (ssh_config(5), PATTERNS): `*` is any text, `?` any sign. Without backtracking: they come from files of others, too. */
export function matchesPattern(pattern: string, name: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  let position = 0;
  while (position < name.length) {
    const sign = pattern[at];
    if (sign === "*") {
      star = at++;
      resume = position;
    } else if (sign === "?" || sign === name[position]) {
      at++;
      position++;
    } else if (star >= 0) {
      at = star + 1;
      position = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
