import { writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { factsOf } from "../../../src/adapters/stand-in.ts";
import { parseSite } from "../../../src/config/compile.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import { showSite } from "../../../src/config/show.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { head, load, problemsOf } from "./files.ts";

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
  await module(
    "spool.ts",
    `type: "scheduler", options: z.strictObject({ spool: z.string(), most: z.int().default(7) })`,
  );
  await module("boxes.ts", `type: "launcher", allocation: true, maxNodes: 1, slots: 3`);
  await module("far.ts", `type: "host"`);
  await module("ftp.ts", `type: "transfer", schemes: ["ftp", "ftps"]`);
});
afterEach(() => directory[Symbol.asyncDispose]());

function module(name: string, members: string): Promise<void> {
  const text = `import { z } from "siteagent/adapter";\nvoid z;\nexport const siteagentAdapter = { contract: 1, create() {}, ${members} };\n`;
  return writeFile(directory.join(name), text, { mode: 0o600 });
}

const all = `${head}adapters:
  spool: { module: spool.ts, options: { spool: /var/spool } }
  boxes: { module: ./boxes.ts }
  far: { module: far.ts }
  ftp: { module: ftp.ts }
hosts: { here: {}, away: { adapter: far, workdir: /scratch/svc } }
targets:
  queue: { host: away, launcher: batch, scheduler: spool }
  box: { host: here, launcher: boxes }
policy: { sources: ["ftp://data.example.org/"] }
apps: { a: { workflow: w, command: [x], target: queue }, b: { workflow: v, command: [x], target: box } }
`;

describe("adapters of a site's own", () => {
  it("are named like built-in ones: scheduler, launcher, host, scheme; with options as their schema makes them", async () => {
    const site = await load(directory, all);
    expect(site.adapters["spool"]).toMatchObject({ type: "scheduler", options: { spool: "/var/spool", most: 7 } });
    expect(site.adapters["spool"]?.path).toBe(directory.join("spool.ts"));
    expect(site.targets["queue"]).toMatchObject({
      launcher: "batch",
      allocation: true,
      settings: { scheduler: "spool" },
    });
    expect(site.targets["box"]).toMatchObject({ launcher: "boxes", allocation: true, slots: 3 });
    expect(site.hosts["away"]).toMatchObject({ kind: "own", adapter: "far", workdir: "/scratch/svc" });
  });

  it("change the digest of the site when their file or their options change", async () => {
    const first = await load(directory, all);
    expect((await load(directory, all)).digest).toBe(first.digest);
    const second = await load(directory, all.replace("/var/spool }", "/var/other }"));
    expect(second.digest).not.toBe(first.digest);
    await module("far.ts", `type: "host", changed: true`);
    expect((await load(directory, all)).digest).not.toBe(first.digest);
  });

  it("are shown with the other settings", async () => {
    await load(directory, all);
    const { settings } = await showSite(directory.join("site.yaml"), builtInRegistries, { env: {} });
    expect(settings).toContainEqual(
      expect.objectContaining({
        path: "adapters.spool.options.spool",
        value: "/var/spool",
        origin: expect.stringMatching(/site\.yaml:4$/) as string,
      }),
    );
  });

  it("are stood in for by what they were when their modules are broken, each by itself", async () => {
    const good = await load(directory, all);
    const standIns = Object.fromEntries(
      Object.values(good.adapters).map(({ name, adapter }) => [name, factsOf(adapter)]),
    );
    for (const file of ["spool.ts", "boxes.ts", "ftp.ts"]) await writeFile(directory.join(file), "export const = 1;");
    const options = { env: {}, standIns };
    const site = await parseSite(all, directory.join("site.yaml"), builtInRegistries, options);
    expect(Object.values(site.adapters).map(({ name, type }) => [name, type])).toEqual(
      Object.values(good.adapters).map(({ name, type }) => [name, type]),
    );
    expect(site.adapters["far"]?.digest).toBe(good.adapters["far"]?.digest);
    expect(site.adapters["spool"]?.digest).not.toBe(good.adapters["spool"]?.digest);
    expect(site.targets).toEqual({
      ...good.targets,
      box: { ...good.targets["box"], slots: expect.any(Number) as number },
    });
  });

  it.each<[string, string, string, RegExp]>([
    [
      "a module that is not there",
      "module: far.ts",
      "module: fare.ts",
      /^site\.yaml:6:18: adapters\.far\.module: 'fare\.ts': no such file; allowed: the path of an ES module/,
    ],
    [
      "an unknown option",
      "spool: /var/spool }",
      "spool: /var/spool, moost: 1 }",
      /^site\.yaml:4:\d+: adapters\.spool\.options\.moost: unknown key 'moost'; allowed: spool, most; nearest: 'most'/,
    ],
    [
      "an option of another kind",
      "spool: /var/spool }",
      "spool: 7 }",
      /^site\.yaml:4:\d+: adapters\.spool\.options\.spool: '7' .*/,
    ],
    [
      "an option that is missing",
      "options: { spool: /var/spool }",
      "options: {}",
      /^site\.yaml:4:\d+: adapters\.spool\.options.*spool/,
    ],
    [
      "options for one that takes none",
      "module: far.ts",
      "module: far.ts, options: { x: 1 }",
      /^site\.yaml:6:\d+: adapters\.far\.options\.x: unknown key 'x'/,
    ],
    [
      "the name of a built-in one",
      "  spool: {",
      "  slurm: {",
      /^site\.yaml:4:3: adapters\.slurm: there is a scheduler 'slurm' already/,
    ],
    [
      "a scheme that is served",
      "  far: { module: far.ts }",
      "  far: { module: far.ts }\n  ftp2: { module: ftp.ts }",
      /^site\.yaml:8:3: adapters\.ftp: scheme 'ftp' is served already/,
    ],
    [
      "a slip of the scheduler",
      "scheduler: spool",
      "scheduler: spol",
      /^site\.yaml:10:\d+: targets\.queue\.scheduler: 'spol' is neither a scheduler .*; allowed: slurm, pbs, sge, spool; nearest: 'spool'/,
    ],
    [
      "a slip of the launcher",
      "launcher: boxes",
      "launcher: boxe",
      /targets\.box\.launcher: 'boxe' is not a launcher .*; nearest: 'boxes'/,
    ],
    [
      "keys of another launcher",
      "launcher: boxes",
      "launcher: boxes, partition: cpu",
      /targets\.box\.partition: unknown key 'partition'/,
    ],
    [
      "a host that is a scheduler",
      "adapter: far",
      "adapter: spool",
      /^site\.yaml:8:\d+: hosts\.away\.adapter: 'spool' is no host under adapters; allowed: far/,
    ],
    [
      "a host of both kinds",
      "adapter: far",
      "adapter: far, ssh: { host: a.example.org }",
      /hosts\.away\.adapter: a host is reached by SSH or by an adapter/,
    ],
    ["a host without directory", ", workdir: /scratch/svc", "", /hosts\.away: a host of an adapter needs a 'workdir'/],
    [
      "the local launcher elsewhere",
      "launcher: batch, scheduler: spool",
      "launcher: local",
      /targets\.queue\.launcher: launcher 'local' starts attempts on this machine, and host 'away' leads elsewhere/,
    ],
    ["a scheme that none serves", "ftp://data", "sftpp://data", /policy\.sources\[0\]: .*ftps/],
  ])("says with line and column what is wrong: %s", async (_what, from, to, message) => {
    expect((await problemsOf(directory, all.replace(from, to))).join("\n")).toMatch(message);
  });
});
