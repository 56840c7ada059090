import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestSite, traced } from "../../test/helpers/site.ts";

/** A kind of job of the random run, and how it may end whatever happens around it. */
export interface Shape {
  readonly app: keyof typeof randomApps;
  /** Some person changes its mind at some time. */
  readonly cancelled?: boolean;
  readonly ends: readonly string[];
}

const hook = { command: ["/bin/true"] };

export const randomApps = {
  quick: { command: traced("echo ok > result.txt"), outputs: { result: { from: "result.txt" } } },
  slow: { command: traced("sleep 1; echo ok > result.txt"), outputs: { result: { from: "result.txt" } } },
  flaky: {
    command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || exit 9'),
    hooks: { handle_error: hook },
    retry: { attempts: 3, on: ["exit:9"], delay: "200ms" },
  },
  failing: { command: traced("exit 3") },
  timed: {
    command: traced("sleep 30"),
    hooks: { handle_timeout: hook },
    resources: { walltime: "1s" },
    success: { on_timeout: true },
  },
  hooked: { command: traced("exit 0"), hooks: { preprocess: hook, postprocess: hook } },
  staged: {
    parameters: { url: { type: "string", from: "config.url" } },
    inputs: { text: { from: "{{config.url}}", to: "text.txt" } },
    command: traced("cat ../in/text.txt > result.txt"),
    outputs: { result: { from: "result.txt", to: "$DELIVERED/{{token}}.txt" } },
  },
  // Leaves its session, its directory and its environment; only its arguments name the installation.
  daemon: {
    command: traced(
      `(cd / && exec setsid env -i /bin/sh -c 'while :; do sleep 1; done' daemon "$SITEAGENT_JOB_DIR") >/dev/null 2>&1 & sleep 0.2; exit 0`,
    ),
  },
  long: { command: traced("sleep 2") },
};

/** One after the other, again and again. */
export const shapes: readonly Shape[] = [
  { app: "quick", ends: ["FINISHED"] },
  { app: "slow", ends: ["FINISHED"] },
  { app: "flaky", ends: ["FINISHED"] },
  { app: "staged", ends: ["FINISHED"] },
  { app: "failing", ends: ["FAILED"] },
  { app: "hooked", ends: ["FINISHED"] },
  { app: "timed", ends: ["FINISHED"] },
  { app: "long", cancelled: true, ends: ["CANCELLED", "FINISHED"] },
  { app: "quick", ends: ["FINISHED"] },
  { app: "daemon", ends: ["FINISHED"] },
];

export async function prepare(site: TestSite): Promise<void> {
  await mkdir(join(site.root, "inputs"));
  await writeFile(join(site.root, "inputs", "a.txt"), "some input\n");
}
