import { writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { describeHost } from "../../conformance/host.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

failOnLeakedProcesses();

describeHost("local", async () => {
  const directory = await temporaryDirectory();
  const host = new LocalHost({ name: "here", workdir: directory.join("work") });
  return { host, root: directory.path, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
});

describe("LocalHost.probe", () => {
  it("is well when its work directory is there or can be made", async () => {
    await using directory = await temporaryDirectory();
    const host = new LocalHost({ name: "here", workdir: directory.join("work") });
    expect(await host.probe()).toMatchObject({ ok: true, version: expect.stringMatching(/^linux \d/) as string });
  });

  it("names the place where it cannot have a work directory", async () => {
    await using directory = await temporaryDirectory();
    const file = directory.join("file");
    await writeFile(file, "");
    const probe = await new LocalHost({ name: "x", workdir: `${file}/work` }).probe();
    expect(probe).toMatchObject({ ok: false, reason: expect.stringContaining(`'${file}'`) as string });
  });
});
