/** Run by a test as another user: launches, follows, stops, and prints what happened as JSON. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createLocalLauncher } from "../../../src/launchers/local/index.ts";
import { context, launchOne, makePlan, stopped, untilState } from "../launchers/attempts.ts";

const root = process.argv[2] ?? "";
const launcher = createLocalLauncher({ stateDirectory: join(root, "state"), idleMs: 1_000 });
const plan = await makePlan(join(root, "jobs"), "id -u; exit 7");
await launchOne(launcher, plan);
const ended = await untilState(launcher, plan, "ended");
const long = await makePlan(join(root, "jobs"), "trap '' TERM; (setsid sleep 61 &); sleep 62");
const ref = await launchOne(launcher, long);
const gone = await stopped(launcher, ref);
const out = await readFile(join(plan.directory, "out"), "utf8");
process.stdout.write(
  JSON.stringify({
    uid: process.getuid?.(),
    out,
    ended,
    gone,
    tier: launcher.capabilities.tier,
    context: context.log !== undefined,
  }),
);
await launcher[Symbol.asyncDispose]();
