/** docs/adding-an-adapter.md, followed step by step; and what it ends with, used by an agent. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { captureStep, tool } from "../../scripts/lib/run.ts";
import { repository } from "../helpers/cli.ts";
import { blocksOf, followPage } from "../helpers/page.ts";
import { Control } from "../integration/agent/control.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { hostModule, launcherModule, transferModule, writeModule } from "../integration/adapters/own-modules.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../helpers/temporary.ts";

const page = await readFile(join(repository, "docs/adding-an-adapter.md"), "utf8");

interface SiteFilePart {
  readonly adapters: { readonly spool: { readonly module: string } };
  readonly targets: { readonly queue: Readonly<Record<string, unknown>> };
}

/** The module with which the page ends, in a directory. */
async function finished(directory: TemporaryDirectory): Promise<string> {
  const blocks = blocksOf(page).filter(({ title }) => title.startsWith("ts my-scheduler.ts"));
  const begin = blocks.findLastIndex(({ title }) => !title.includes("continued"));
  const path = directory.join("my-scheduler.ts");
  await writeFile(
    path,
    blocks
      .slice(begin)
      .map(({ text }) => text)
      .join("\n"),
    { mode: 0o600 },
  );
  return path;
}

it.concurrent(
  "begins with a stub that fails the suite and ends with an adapter that passes it",
  { timeout: 600_000 },
  async () => {
    await using directory = await temporaryDirectory();
    const files = await followPage(page, directory.path);
    expect([...files.keys()]).toEqual(["my-scheduler.ts", "site.yaml"]);
  },
);

it.concurrent("is typed by what siteagent/adapter exports", { timeout: 120_000 }, async () => {
  await using directory = await temporaryDirectory();
  await finished(directory);
  const settings = {
    extends: join(repository, "tsconfig.json"),
    compilerOptions: {
      paths: { "siteagent/adapter": [join(repository, "src/adapters/entry.ts")] },
      typeRoots: [join(repository, "node_modules/@types")],
    },
    include: ["*.ts"],
  };
  await writeFile(directory.join("package.json"), JSON.stringify({ type: "module" }));
  await writeFile(directory.join("tsconfig.json"), JSON.stringify(settings));
  const checked = await captureStep(process.execPath, [tool("typescript/bin/tsc"), "-p", directory.path]);
  expect(checked).toMatchObject({ code: 0, output: "" });
});

it.concurrent(
  "H16: is one that an agent runs jobs with, each once, killed in between and broken at a start",
  { timeout: 300_000 },
  async () => {
    await using directory = await temporaryDirectory();
    const module = await finished(directory);
    await mkdir(directory.join("spool"), { mode: 0o700 });
    const site = blocksOf(page).find(({ title }) => title === "yaml site.yaml")?.text ?? "";
    const { adapters, targets } = parse(site) as SiteFilePart;
    const { host: _host, ...target } = targets.queue;
    await using own = await TestSite.start({
      apps: {
        good: { command: traced("exit 0") },
        bad: { command: traced("exit 3") },
        patient: { command: traced("while [ ! -e ../../../go ]; do sleep 0.1; done") },
        long: { command: traced("sleep 300") },
      },
      adapters: { spool: { ...adapters.spool, module, options: { spool: directory.join("spool") } } },
      target,
    });
    await own.startAgent();
    const [good, bad, patient, long] = await Promise.all(
      ["good", "bad", "patient", "long"].map((app) => own.submit(app)),
    );
    if (!good || !bad || !patient || !long) throw new Error("no jobs");
    for (const { id } of [patient, long]) await own.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await own.killAgent();
    await own.startAgent();
    expect(await own.ended(good.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await own.ended(bad.id, 60_000)).toMatchObject({ status: "FAILED", end: { cause: "exit", exit_code: 3 } });

    // A module that is broken when the agent starts loses no job: what it knows of is unknown until the module is mended.
    await own.killAgent();
    const text = await readFile(module, "utf8");
    await writeFile(module, `${text}(`);
    await own.startAgent();
    const control = new Control(own);
    expect((await control.status()).config.problem).toMatch(/my-scheduler\.ts' cannot be loaded/);
    await writeFile(join(own.root, "go"), "");
    expect(await control.post("/v1/reload")).toMatchObject({ status: expect.not.toSatisfy((code) => code === 200) });
    await control.until("the missing scheduler to be named", ({ problems }) =>
      JSON.stringify(problems).includes("adapter 'spool' is missing"),
    );
    expect((await own.view(patient.id)).state).toBe("RUNNING");
    await writeFile(module, text);
    expect(await control.post("/v1/reload")).toMatchObject({ status: 200 });
    expect(await own.ended(patient.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    await own.client.cancel(long.id);
    expect(await own.ended(long.id, 60_000)).toMatchObject({ status: "CANCELLED" });
    expect(await own.imbalances([good, bad, patient, long].map(({ id }) => id))).toEqual([]);
  },
);

it.concurrent(
  "host, launcher and transfer of a site's own work together as ours do",
  { timeout: 300_000 },
  async () => {
    await using directory = await temporaryDirectory();
    const root = directory.join("store");
    await mkdir(root);
    await writeFile(join(root, "x.txt"), "from the store");
    await using own = await TestSite.start({
      apps: {
        fetched: {
          inputs: { text: { from: "copy://store/x.txt", to: "text.txt" } },
          command: [...traced('cat "$1" > got.txt'), "sh", "{{inputs.text}}"],
          outputs: { got: { from: "got.txt", to: "$DELIVERED/got.txt" } },
        },
        long: { command: traced("sleep 300") },
      },
      adapters: {
        near: { module: await writeModule(directory, "near.mjs", hostModule()) },
        mine: { module: await writeModule(directory, "mine.mjs", launcherModule), options: { idle: 2_000 } },
        copy: { module: await writeModule(directory, "copy.mjs", transferModule), options: { root } },
      },
      host: { adapter: "near" },
      target: { launcher: "mine" },
      sources: ["copy://store/"],
    });
    await own.startAgent();
    const [fetched, long] = await Promise.all([own.submit("fetched"), own.submit("long")]);
    await own.waitFor(long.id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await own.killAgent();
    await own.startAgent();
    expect(await own.ended(fetched.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await readFile(join(own.delivered, "got.txt"), "utf8")).toBe("from the store");
    await own.client.cancel(long.id);
    expect(await own.ended(long.id, 60_000)).toMatchObject({ status: "CANCELLED" });
    expect(await own.imbalances([fetched, long].map(({ id }) => id))).toEqual([]);
  },
);
