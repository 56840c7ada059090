import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import type { FindResult, ScheduledJob } from "../types.ts";
import type { Asks } from "./asks.ts";
import { earliest, notBefore } from "./identity.ts";
import { iso } from "./status.ts";

/** By token, in the queue and in accounting: what was found twice is one, what only one of the two has counts. */
export async function findTokens(
  asks: Asks,
  wanted: readonly { readonly token: Token; readonly since: string }[],
  context: CallContext,
): Promise<readonly FindResult[]> {
  const { cluster } = asks;
  const queue = await asks.queue(cluster, context);
  if (queue.state === "unknown") return wanted.map(() => queue);
  const since = earliest(
    wanted.map((each) => each.since),
    context,
  );
  const tokens = wanted.map(({ token }) => token);
  const history = await asks.history("names", tokens, (names) => ({ cluster, since, by: { names } }), context);
  const found = new Map<Token, Map<string, number>>();
  for (const { token, id, submitted = Infinity } of [...queue.rows, ...history.rows]) {
    const jobs = found.get(token) ?? new Map<string, number>();
    jobs.set(id, Math.min(jobs.get(id) ?? Infinity, submitted));
    found.set(token, jobs);
  }
  return wanted.map((each): FindResult => {
    const [first, ...more] = oldestFirst(found.get(each.token) ?? new Map(), each, {
      ...(cluster === undefined ? {} : { cluster }),
      ...asks.origin,
    });
    if (first) return { state: "found", jobs: [first, ...more] };
    const why = queue.incomplete ?? history.unknown.get(each.token);
    return why === undefined ? { state: "absent" } : { state: "unknown", why };
  });
}

/** Of ids with the seconds of their submission. */
function oldestFirst(
  found: ReadonlyMap<string, number>,
  { token, since }: { readonly token: Token; readonly since: string },
  place: Pick<ScheduledJob, "cluster" | "origin">,
): readonly ScheduledJob[] {
  const bound = notBefore(since);
  return [...found]
    .filter(([, submitted]) => submitted >= bound)
    .toSorted(([oneId, one], [otherId, other]) => one - other || Number(oneId) - Number(otherId))
    .map(([id, submitted]) => ({
      id,
      ...place,
      token,
      submittedAt: Number.isFinite(submitted) ? iso(submitted) : since,
    }));
}
