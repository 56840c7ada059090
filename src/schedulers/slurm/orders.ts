import type { CallContext } from "../../common/context.ts";
import { inChunks } from "../../common/chunks.ts";
import type { OrderResult, ScheduledJob } from "../types.ts";
import type { Asks } from "./asks.ts";
import { Rows } from "./identity.ts";
import { isJobId, operandOf } from "./ids.ts";
import { scancel, scontrolOrder } from "./order-commands.ts";
import type { QueueRow } from "./squeue.ts";
import { meaningOf } from "./states.ts";

/** Operands of one command: more make the controller slow and the line long. */
const most = 200;

/** The queue is looked at first: an id may be another job's by now, and a command must not reach that one. All of one cluster. */
export async function giveOrders(
  asks: Asks,
  verb: "cancel" | "hold" | "release",
  cluster: string | undefined,
  jobs: readonly ScheduledJob[],
  context: CallContext,
): Promise<readonly OrderResult[]> {
  const queue = await asks.queue(cluster, context);
  if (queue.state === "unknown") return jobs.map(() => queue);
  const rows = await Rows.of(queue.rows);
  const known = jobs.map((job) => withoutCommand(job, rows.of(job), queue.incomplete));
  const operands = [...new Set(jobs.filter((_, index) => known[index] === undefined).map(operandOf))];
  const results = new Map<string, OrderResult>();
  for (const chunk of inChunks(operands, most)) {
    const command = verb === "cancel" ? scancel(cluster, chunk) : scontrolOrder(verb, cluster, chunk);
    const answer = await asks.run(command, context);
    for (const [index, operand] of chunk.entries()) {
      const result = answer[index];
      if (result) results.set(operand, result);
    }
  }
  const none = { state: "unknown", why: "no answer for it" } as const;
  return jobs.map((job, index) => known[index] ?? results.get(operandOf(job)) ?? none);
}

/** What is known of an order without giving it; undefined: it has to be given. */
function withoutCommand(
  job: ScheduledJob,
  rows: readonly QueueRow[],
  incomplete: string | undefined,
): OrderResult | undefined {
  if (!isJobId(job.id)) return { state: "refused", reason: `'${job.id}' is no job id of Slurm` };
  if (rows.some((row) => meaningOf(row.state).as !== "ended")) return undefined;
  return rows.length === 0 && incomplete !== undefined ? { state: "unknown", why: incomplete } : { state: "over" };
}
