import { mkdir, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { Program } from "../../helpers/program.ts";
import { Rest } from "../../helpers/rest.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

/** A process that holds more at each line: what the line's code says. */
const holder = `
  const { spawn } = require("node:child_process");
  const fs = require("node:fs");
  const net = require("node:net");
  require("node:readline").createInterface({ input: process.stdin }).on("line", async (line) => {
    await eval(line);
    console.log("held");
  });
  console.log("ready");
`;

/** The problems of a process before and after it did something. */
async function problemsAfter(code: (root: string) => string): Promise<readonly string[]> {
  await using root = await temporaryDirectory();
  await mkdir(root.join("work"));
  await writeFile(root.join("work/out"), "");
  const rest = new Rest(root.path);
  await using process_ = await Program.start(process.execPath, ["-e", holder], { env: {} });
  const residents = [{ kind: "agent", pid: process_.pid }] as const;
  await process_.output(/ready/);
  expect(rest.problems(residents)).toEqual([]);
  expect(rest.problems(residents)).toEqual([]);
  process_.write(`${code(root.path)}\n`);
  await process_.output(/held/);
  await waitFor(() => rest.problems(residents).length > 0, { what: "a problem", timeoutMs: 5_000 }).catch(() => {});
  return rest.problems(residents);
}

it("what a process holds at rest is measured by its first look", { timeout: 60_000 }, async () => {
  expect(await problemsAfter(() => "fs.openSync('/dev/null'); fs.openSync('/dev/zero')")).toEqual([
    expect.stringMatching(
      /^the agent \(\d+\) holds \d+ descriptors of kind 'device', \d+ at most before: .*\/dev\/zero/,
    ),
  ]);
  const connect = (count: number): string =>
    `globalThis.server = net.createServer().listen(0, () => { for (let n = 0; n < ${count}; n++) net.connect(server.address().port) })`;
  expect(await problemsAfter(() => connect(20))).toEqual([expect.stringMatching(/descriptors of kind 'socket'/)]);
});

it("a descriptor of a job's file and one of a file that was removed are seen at the first look", async () => {
  expect(await problemsAfter((root) => `fs.openSync('${root}/work/out')`)).toContainEqual(
    expect.stringMatching(/holds '.*\/work\/out' open, and no job runs$/),
  );
  expect(await problemsAfter((root) => `fs.openSync('${root}/gone', 'w'); fs.rmSync('${root}/gone')`)).toContainEqual(
    expect.stringMatching(/holds '.*\/gone \(deleted\)' open/),
  );
});

it("a child is seen, and one that has ended and that nobody waits for", async () => {
  expect(await problemsAfter(() => "spawn('/bin/cat', [], { stdio: ['pipe', 'ignore', 'ignore'] })")).toContainEqual(
    expect.stringMatching(/^the agent \(\d+\) has the child \d+ \(\/bin\/cat\)$/),
  );
  const script = "sleep 0 & exec sleep 60";
  await using parent = await Program.start("/bin/sh", ["-c", script], { env: { PATH: "/bin:/usr/bin" } });
  const rest = new Rest("/nowhere");
  const problems = (): readonly string[] => rest.problems([{ kind: "runner", pid: parent.pid }]);
  await waitFor(() => problems().some((one) => /\(ended, not waited for\)$/.test(one)), { what: "a zombie" });
});
