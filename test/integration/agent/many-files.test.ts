/** A job of more files than the journal holds, there and back, by the agent's own loops. */
import { mkdirSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import type { ManifestEntry, TransferAdapter } from "../../../src/transfer/types.ts";
import { readManifest } from "../../../src/agent/manifest-file.ts";
import { isToken } from "../../../src/common/token.ts";
import type { LocalJobDetail } from "../../../src/wire/control-api.ts";
import { sha256 } from "../transfer/setup.ts";
import { control } from "./control.ts";
import { hours, play } from "./scene.ts";

const files = 1_300;
const inJournal = 500;
/** So many have come when the agent is stopped. */
const before = 1_100;

function pathOf(n: number): string {
  return `${n % 10}/${n}`;
}

/** A far machine on which many small files lie; it says nothing more when most of them have been fetched, until it is told to. */
function farMachine() {
  const state = { fetched: [] as string[], sent: [] as string[], hangs: true };
  const adapter: TransferAdapter = {
    kind: "far",
    schemes: ["https"],
    capabilities: { resume: false, list: true, write: true, digest: true },
    probe: async () => ({ ok: true, version: "1" }),
    async list(_url, _kind, _context, found) {
      for (let n = 0; n < files; n += 100) {
        const some = Array.from({ length: 100 }, (_, k) => ({ path: pathOf(n + k), bytes: 1 }));
        await found?.(some.map((file) => ({ ...file, mtimeMs: undefined, version: undefined })));
      }
      return [];
    },
    bulk: {
      leastFiles: 1,
      mostFileBytes: Infinity,
      mostFiles: 100,
      mostBytes: Infinity,
      async fetch(_url, some, directory, arrived, { signal }) {
        if (state.hangs && state.fetched.length >= before)
          await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        for (const file of some) {
          state.fetched.push(file.path);
          const path = join(directory, file.path);
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, "x");
          await arrived(file);
        }
      },
      async send(_url, some, _info, arrived) {
        for (const file of some) {
          state.sent.push(file.path);
          await arrived(file, { bytes: 1, sha256: sha256("x") });
        }
      },
    },
    read: () => Promise.reject(new Error("nothing is read")),
    write: () => Promise.reject(new Error("nothing is written")),
    verify: () => Promise.reject(new Error("nothing is looked at")),
    async [Symbol.asyncDispose]() {},
  };
  return { state, adapter };
}

async function entriesOf(path: string): Promise<readonly ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  for await (const entry of readManifest(path)) entries.push(entry);
  return entries;
}

it("F16: more files than the journal holds come and go once each, over a restart, and are told to central in pages", async () => {
  const { state, adapter } = farMachine();
  const url = "https://far.example.org/";
  await using scene = await play({
    transfers: [adapter],
    limits: { journaledFiles: inJournal },
    policy: { sources: [url], destinations: [url] },
    apps: {
      w: {
        inputs: { data: { from: `${url}in`, kind: "directory", to: "data" } },
        outputs: { all: { from: "results", kind: "directory", to: `${url}out/` } },
      },
    },
  });
  const { hub, rig } = scene;
  const until = (what: string, condition: () => unknown) => scene.until(what, condition, 1_000 * hours);
  hub.give("j1", 1);
  await until("it is held", async () => (await rig.job("j1")) !== undefined);
  await until("it has a directory", async () => (await readdir(rig.directory.join("work"))).some(isToken));
  const token = (await readdir(rig.directory.join("work"))).find(isToken) ?? "";
  const manifest = (direction: string) => rig.directory.join(`work/${token}/manifest-${direction}.jsonl`);
  await until("most have come", async () => (await entriesOf(manifest("in"))).length === before - inJournal);
  const known = new Set((await entriesOf(manifest("in"))).map(({ path }) => path.replace(/^data\//, "")));
  state.hangs = false;
  await rig.restart();
  await until("it runs", () => rig.launcher.running.length === 1);
  expect(state.fetched.slice(before).filter((path) => known.has(path))).toEqual([]);
  expect([state.fetched.length, new Set(state.fetched).size]).toEqual([files, files]);
  for (let n = 0; n < files; n++) {
    const path = rig.directory.join(`work/${token}/work/results/${pathOf(n)}`);
    if (n < 10) mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "x");
  }
  for (const attempt of rig.launcher.running) rig.launcher.end(attempt);
  await until("it is over", () => hub.states("j1").includes("JOB_FINISHED"));
  expect([state.sent.length, (await entriesOf(manifest("out"))).length]).toEqual([files, files - inJournal]);
  const told = hub.applied.flatMap(({ outputs }) => (outputs === undefined ? [] : [outputs.map(({ path }) => path)]));
  expect(new Set(told.flat())).toEqual(new Set(Array.from({ length: files }, (_, n) => `results/${pathOf(n)}`)));
  expect(Math.max(...told.map((some) => some.length))).toBeLessThanOrEqual(2_000);
  // What stays in memory of a job that is over.
  const { body } = await control(rig.directory.join("run"), "GET", "/v1/jobs/j1");
  const { outputs, files: counted } = body as LocalJobDetail;
  expect([outputs.length, counted]).toEqual([inJournal, { inputs: files, outputs: files }]);
});
