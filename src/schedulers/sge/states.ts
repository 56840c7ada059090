import type { ScheduledStatus } from "../types.ts";

/**
 * The state column as a set of letters (`hRqw`, `Rr`, `Eqw`, `dr`): manuals list spellings that the program never prints, in another order.
 * Tested in the order of what outweighs what.
 */
export function statusOfLetters(
  letters: string,
  more: {
    readonly reason?: string | undefined;
    readonly since?: string | undefined;
    readonly nodes?: string | undefined;
  },
): ScheduledStatus {
  const has = (...some: readonly string[]): boolean => some.some((letter) => letters.includes(letter));
  const restarts = has("R") ? { restarts: 1 } : {};
  if (!/^[a-zA-Z]+$/.test(letters)) return { state: "unknown", why: `Grid Engine says state '${letters}'` };
  if (has("d")) return { state: "finishing" };
  const waiting = has("q", "w");
  if (has("E")) return { state: "queued", stuck: true, reason: more.reason ?? `error state ${letters}`, ...restarts };
  if (has("h") && waiting)
    return { state: "queued", stuck: true, reason: more.reason ?? `held (${letters})`, ...restarts };
  if (waiting) return { state: "queued", ...(more.reason === undefined ? {} : { reason: more.reason }), ...restarts };
  if (has("x")) return { state: "finishing" };
  const running = { state: "running", since: more.since, nodes: more.nodes, ...restarts } as const;
  if (has("s", "S", "T")) return { ...running, suspended: true };
  if (has("r", "t")) return running;
  return { state: "unknown", why: `Grid Engine says state '${letters}'` };
}
