import { appendFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compileCache } from "../../helpers/compile-cache.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { open } from "./open.ts";

failOnLeakedProcesses();

const writer = join(import.meta.dirname, "programs", "writer.ts");
const kills = 40;
/** A fixed sequence, so that a failure can be repeated. */
let seed = 20260102;

function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

function writing(directory: string, failpoints = ""): Promise<Program> {
  return Program.start(process.execPath, [writer, directory], {
    env: { ...compileCache, SITEAGENT_TEST: "1", SITEAGENT_FAILPOINTS: failpoints },
  });
}

/** The highest number whose commit was acknowledged; all below it were committed before. */
function acknowledged(stdout: string): number {
  const whole = stdout.slice(0, stdout.lastIndexOf("\n") + 1);
  return Math.max(0, ...[...whole.matchAll(/^(\d+)$/gm)].map(([, digits]) => Number(digits)));
}

/** Opens what a killed writer left: all up to `promised` is there, once, in order. */
async function verify(directory: string, promised: number): Promise<number> {
  const { journal, opening } = await open(directory);
  await using _ = journal;
  expect(opening.repair.kind, opening.repair.message).not.toBe("salvage");
  const start = Number(opening.snapshot?.["upTo"] ?? 0);
  const numbers = opening.records.map(({ data }) => Number(data["n"]));
  expect(numbers).toStrictEqual(Array.from({ length: numbers.length }, (_unused, index) => start + 1 + index));
  const last = numbers.at(-1) ?? start;
  expect(last).toBeGreaterThanOrEqual(promised);
  return last;
}

test(`every acknowledged commit is there after ${kills} kills at random moments`, { timeout: 120_000 }, async () => {
  await using directory = await temporaryDirectory();
  let last = 0;
  for (let kill = 0; kill < kills; kill++) {
    await using program = await writing(directory.path);
    await program.output(/^open$/m);
    const commits = Math.floor(random() * 120);
    await program.output(new RegExp(`^${last + 1 + commits}$`, "m"));
    program.signal("SIGKILL");
    await program.finished;
    const promised = acknowledged(program.stdout);
    last = await verify(directory.path, Math.max(last, promised));
  }
  expect(last).toBeGreaterThan(kills);
});

test.each([
  ["journal.before-write", 20],
  ["journal.after-write", 20],
  ["journal.before-sync", 20],
  ["journal.after-sync", 20],
  ["journal.before-snapshot-write", 2],
  ["journal.before-rename", 2],
  ["journal.after-rename", 2],
  ["journal.before-remove", 1],
  ["journal.after-remove", 1],
])("loses nothing when killed at %s", async (name, passage) => {
  await using directory = await temporaryDirectory();
  await using program = await writing(directory.path, `${name}=kill@${passage}`);
  const { signal } = await program.result(30_000);
  expect(signal).toBe("SIGKILL");
  const last = await verify(directory.path, acknowledged(program.stdout));
  await using again = await writing(directory.path);
  await again.output(new RegExp(`^${last + 3}$`, "m"));
});

test.each(["journal.before-cut", "journal.after-cut"])("cuts the torn tail again when killed at %s", async (name) => {
  await using directory = await temporaryDirectory();
  {
    await using program = await writing(directory.path);
    await program.output(/^3$/m);
  }
  const newest =
    (await readdir(directory.path))
      .filter((file) => file.endsWith(".log"))
      .sort()
      .at(-1) ?? "";
  await appendFile(directory.join(newest), "torn");
  await using program = await writing(directory.path, `${name}=kill`);
  expect((await program.result(30_000)).signal).toBe("SIGKILL");
  expect(await verify(directory.path, 3)).toBeGreaterThanOrEqual(3);
});
