/** Moves a file once by the engine in a process of its own and prints what that took of the machine: argv[2] is JSON. */
import { mkdir, rm } from "node:fs/promises";
import type { SshServer } from "../../test/helpers/engines/ssh-server.ts";
import { type Direction, OurMover } from "./movers.ts";

export interface AloneTask {
  readonly settings: ReturnType<SshServer["settings"]>;
  readonly directory: string;
  readonly moves: readonly (readonly [Direction, string, string])[];
}

export interface AloneFigures {
  /** Of the whole process while it moved, seconds. */
  readonly cpuSeconds: number;
  /** Of the process since it began. */
  readonly peakMiB: number;
}

const task = JSON.parse(process.argv[2] ?? "") as AloneTask;
const server = { settings: () => task.settings, directory: { path: task.directory } };
await using mover = new OurMover({ server, port: task.settings.port ?? 22, scratch: "" }, "file");
for (const [, , to] of task.moves) await mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
const before = process.cpuUsage();
for (const [direction, from, to] of task.moves) {
  await mover.move(direction, from, to);
  await rm(to);
}
const { user, system } = process.cpuUsage(before);
const figures: AloneFigures = { cpuSeconds: (user + system) / 1e6, peakMiB: process.resourceUsage().maxRSS / 1024 };
process.stdout.write(JSON.stringify(figures));
