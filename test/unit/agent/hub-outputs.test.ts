import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { HubOutputs } from "../../../src/agent/hub-outputs.ts";
import type { Central } from "../../../src/central/types.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { Fault, isFault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken } from "../../../src/common/token.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { heldJobOf } from "./builders.ts";

const context = { signal: new AbortController().signal, log: silentLogger, clock: systemClock };
const content = { bytes: 5, sha256: "ab".repeat(32) };
const refused = (error: unknown): boolean => isFault(error, "TRANSFER_REFUSED");

/** A central API of which only the taking of outputs matters. */
const centralOf = (outputs: boolean, putOutput: Central["putOutput"] = async () => {}): Central =>
  ({ dialect: "hub", capabilities: { outputs }, putOutput }) as unknown as Central;

async function scene(root: string) {
  const token = newToken();
  const job = heldJobOf("j", { token, directory: join(root, token) });
  const file = join(job.directory, "work", "sub", "a.txt");
  await mkdir(join(job.directory, "work", "sub"), { recursive: true });
  await writeFile(file, "hello");
  const outputs = new HubOutputs();
  const connect = (central: Central): void =>
    outputs.connect(central, (token) => (token === job.token ? job : undefined));
  return { job, file, outputs, connect, url: `siteagent://hub/${job.token}/result` };
}

describe("outputs for the hub", () => {
  it("go there under the path that they have in work/, and are known until the job is forgotten", async () => {
    await using directory = await temporaryDirectory();
    const { job, file, outputs, connect, url } = await scene(directory.path);
    const put: unknown[] = [];
    connect(centralOf(true, async ({ path, output, epoch }) => void put.push({ path, output, epoch })));
    expect(await outputs.probe()).toEqual({ ok: true, version: "hub" });
    await outputs.write(url, file, content, context);
    expect(put).toEqual([{ path: join("sub", "a.txt"), output: "result", epoch: 1 }]);
    expect(await outputs.verify(url)).toEqual(content);
    expect(outputs.wasKept(url)).toBe(false);
    outputs.forget(heldJobOf("other").token);
    expect(await outputs.verify(url)).toEqual(content);
    outputs.forget(job.token);
    expect(await outputs.verify(url)).toBeUndefined();
  });

  it("go there under the same path when the work directory of the host is a link to another place", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("disk7"));
    await symlink(directory.join("disk7"), directory.join("scratch"));
    const { file, outputs, connect, url } = await scene(directory.join("scratch"));
    const paths: string[] = [];
    connect(centralOf(true, async ({ path }) => void paths.push(path)));
    await outputs.write(url, file, content, context);
    expect(paths).toEqual([join("sub", "a.txt")]);
  });

  it.each([
    ["takes no outputs at all", centralOf(false)],
    ["finds it too large", centralOf(true, () => Promise.reject(new Fault("TOO_LARGE", "above the cap")))],
  ])("stay where they are when central %s", async (_what, central) => {
    await using directory = await temporaryDirectory();
    const { job, file, outputs, connect, url } = await scene(directory.path);
    connect(central);
    await outputs.write(url, file, content, context);
    expect(outputs.wasKept(url)).toBe(true);
    outputs.forget(job.token);
    expect(outputs.wasKept(url)).toBe(false);
  });

  it("fail with what central says otherwise", async () => {
    await using directory = await temporaryDirectory();
    const { file, outputs, connect, url } = await scene(directory.path);
    connect(centralOf(true, () => Promise.reject(new Fault("UNREACHABLE", "no route"))));
    await expect(outputs.write(url, file, content, context)).rejects.toSatisfy((error) =>
      isFault(error, "UNREACHABLE"),
    );
    expect(outputs.wasKept(url)).toBe(false);
  });

  it("are refused for what is no job of this site, before and after there is a central, and are no sources", async () => {
    await using directory = await temporaryDirectory();
    const { file, outputs, connect, url } = await scene(directory.path);
    expect(await outputs.probe()).toMatchObject({ ok: false });
    await expect(outputs.write(url, file, content, context)).rejects.toSatisfy(refused);
    connect(centralOf(true));
    for (const strange of [`siteagent://hub/${heldJobOf("x").token}/r`, "siteagent://hub/UPPER/r", "https://hub/x/y"])
      await expect(outputs.write(strange, file, content, context)).rejects.toSatisfy(refused);
    await expect(outputs.list(url)).rejects.toSatisfy(refused);
    await expect(outputs.read(url)).rejects.toSatisfy(refused);
  });
});
