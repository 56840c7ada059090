import { randomBytes } from "node:crypto";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { Leftovers } from "../../../src/transfer/leftovers.ts";
import { createLocalTransfer } from "../../../src/transfer/local/index.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { endingIn, skipping } from "./lost-lines.ts";
import { rsyncHarness } from "./rsync-harness.ts";
import { faultOf, fileUrl, item, namesBelow, request, startEngine, testContext } from "./setup.ts";
import { type SftpHarness, sftpHarness } from "./sftp-harness.ts";

failOnLeakedProcesses();

const context = testContext({ clock: skipping(10_000) });

/** Removes what belongs to the job, and nothing else. */
async function sweeps(adapter: TransferAdapter, url: string, directory: string, tree: boolean): Promise<void> {
  const [token, other] = [newToken(), newToken()];
  const kept = [`.part-${other}-1`, ".part-", `part-${token}-1`, "x"];
  for (const name of [...kept, `.part-${token}-1`]) await writeFile(`${directory}/${name}`, "x");
  await symlink("x", `${directory}/.part-${token}-link`);
  if (tree) await mkdir(`${directory}/.part-${token}-g1/f/0`, { recursive: true });
  for (let times = 0; times < 2; times++) {
    await adapter.sweep?.({ url }, token, context);
    expect((await readdir(directory)).toSorted()).toEqual(kept.toSorted());
  }
  await adapter.sweep?.({ url: url.replace(/x$/, "none/x") }, token, context);
  expect((await readdir(directory)).toSorted()).toEqual(kept.toSorted());
}

describe("partial files of a job that is over", () => {
  it("are removed from a directory of this machine, and nothing else is", async () => {
    await using place = await temporaryDirectory();
    const adapter = createLocalTransfer({
      policy: compilePolicy({ sources: [], destinations: [fileUrl(place.path)] }),
    });
    await sweeps(adapter, fileUrl(place.join("x")), place.path, false);
  });
});

describeWithEngine("sshd", "partial files of a job that is over", () => {
  it("are removed from a directory of a remote, and nothing else is", async () => {
    await using far = await sftpHarness();
    await sweeps(far.adapter, far.url("x"), far.path(""), true);
  });

  it("are removed when a job is cancelled in the middle of a file, also by an agent that was started anew", async () => {
    await using far = await sftpHarness({}, { proxied: true });
    await cancelled(far, 0);
  });
});

describeWithEngine("rsync", "partial files of a job that is over", () => {
  it("are removed when a job is cancelled while rsync moves its files", async () => {
    await using far = await rsyncHarness({}, { proxied: true });
    await cancelled(far, 3);
  });
});

/** An engine that is stopped in the middle of an output, and another one that hears that the job is over. */
async function cancelled(far: SftpHarness, files: number): Promise<void> {
  const { proxy } = far;
  if (!proxy) throw new Error("no proxy");
  await using here = await temporaryDirectory();
  await mkdir(here.join("work"));
  await writeFile(here.join("work/x"), randomBytes(8 * 1024 * 1024));
  for (let index = 0; index < files; index++) await writeFile(here.join(`work/${index}`), "small");
  const start = () =>
    startEngine({ policy: far.policy, access: far.find, leftovers: new Leftovers(here.join("notes")) });
  const items = [item({ kind: "directory", source: ".", target: far.url("out/") })];
  const stopper = new AbortController();
  const sending = request({ direction: "out", root: here.join("work"), items });
  await using first = start();
  proxy.fault = endingIn(proxy, 3 * 1024 * 1024, stopper);
  const fault = await faultOf(first.run(sending, { ...context, signal: stopper.signal }));
  expect(fault.code).toBe("CANCELLED");
  proxy.fault = { kind: "pass" };
  const partials = async () => (await namesBelow(far.path(""))).filter((name) => name.includes(".part-"));
  expect(await partials()).not.toEqual([]);
  await using second = start();
  await second.abandon(sending.token, context);
  expect(await partials()).toEqual([]);
  expect(await readdir(here.join("notes"))).toEqual([]);
}
