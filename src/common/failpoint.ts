/**
 * Named places around every side effect (`failpoints.ts`) where a test can make this process die, fail or stall. Off unless
 * `SITEAGENT_TEST=1`. Armed from the start by `SITEAGENT_FAILPOINTS=name=action[@n][,…]`, in every process that has it in its
 * environment: `kill` (SIGKILL to this process), `exit`, `error`, `hang`, `delay:MS`; `@n` = at the n-th passage only (default
 * 1st). Or armed while processes run, for one passage of whichever comes there first: the file `name` in the directory
 * `SITEAGENT_FAILPOINT_DIRECTORY` holds the action and is called `name.reached` from then on.
 */
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { FailpointName } from "./failpoints.ts";

interface Armed {
  readonly action: string;
  readonly at: number;
  passages: number;
}

const armed = new Map<string, Armed>();
let directory: string | undefined;
let off = true;

if (process.env["SITEAGENT_TEST"] === "1") {
  for (const entry of (process.env["SITEAGENT_FAILPOINTS"] ?? "").split(",")) {
    const match = /^\s*([\w.-]+)=([\w:]+)(?:@(\d+))?\s*$/.exec(entry);
    if (match?.[1] && match[2]) armed.set(match[1], { action: match[2], at: Number(match[3] ?? 1), passages: 0 });
  }
  directory = process.env["SITEAGENT_FAILPOINT_DIRECTORY"];
  off = armed.size === 0 && directory === undefined;
}

const passed = Promise.resolve();

/** Passes the named place; what is armed there happens. Free of cost when nothing is armed. */
export function failpoint(name: FailpointName): Promise<void> {
  return off ? passed : pass(name);
}

async function pass(name: FailpointName): Promise<void> {
  const action = taken(name) ?? due(name);
  if (action === undefined) return;
  const [verb, argument] = action.split(":");
  switch (verb) {
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
      throw new Error(`failpoint '${name}': unknown action '${action}'`);
  }
}

function due(name: FailpointName): string | undefined {
  const point = armed.get(name);
  return point && ++point.passages === point.at ? point.action : undefined;
}

/** The action of the file, for the one who renames it. */
function taken(name: FailpointName): string | undefined {
  if (directory === undefined) return undefined;
  const path = join(directory, name);
  try {
    const action = readFileSync(path, "utf8");
    renameSync(path, `${path}.reached`);
    return action;
  } catch {
    return undefined; // not armed, or another one was sooner
  }
}
