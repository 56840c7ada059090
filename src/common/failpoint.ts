/**
 * Named places around every side effect where a test can make this process die, fail or stall. Off unless
 * `SITEAGENT_TEST=1`; armed by `SITEAGENT_FAILPOINTS=name=action[@n][,…]`:
 * `kill` (SIGKILL to this process), `exit`, `error`, `hang`, `delay:MS`; `@n` = at the n-th passage only (default 1st).
 */
import { appendFileSync } from "node:fs";

interface Armed {
  readonly action: string;
  readonly at: number;
  passages: number;
}

const armed = new Map<string, Armed>();
const tracePath = process.env["SITEAGENT_TEST"] === "1" ? process.env["SITEAGENT_FAILPOINT_TRACE"] : undefined;

if (process.env["SITEAGENT_TEST"] === "1") {
  for (const entry of (process.env["SITEAGENT_FAILPOINTS"] ?? "").split(",")) {
    const match = /^\s*([\w.-]+)=([\w:]+)(?:@(\d+))?\s*$/.exec(entry);
    if (match?.[1] && match[2]) armed.set(match[1], { action: match[2], at: Number(match[3] ?? 1), passages: 0 });
  }
}

/** Passes the named place; what is armed there happens. Free of cost when nothing is armed. */
export async function failpoint(name: string): Promise<void> {
  if (tracePath !== undefined) appendFileSync(tracePath, `${name}\n`);
  const point = armed.get(name);
  if (!point || ++point.passages !== point.at) return;
  const [action, argument] = point.action.split(":");
  switch (action) {
    case "kill":
      process.kill(process.pid, "SIGKILL");
      await new Promise(() => {});
      break;
    case "exit":
      process.exit(1);
      break;
    case "error":
      throw new Error(`failpoint '${name}'`);
    case "hang":
      await new Promise(() => setInterval(() => {}, 3_600_000));
      break;
    case "delay":
      await new Promise((resolve) => setTimeout(resolve, Number(argument)));
      break;
    default:
      throw new Error(`failpoint '${name}': unknown action '${point.action}'`);
  }
}
