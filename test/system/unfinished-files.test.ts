import { randomUUID } from "node:crypto";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function recorderDirectory(site: TestSite): Promise<string> {
  const [digest = ""] = await readdir(join(site.root, "state", "recorder"));
  return join(site.root, "state", "recorder", digest);
}

it("what a killed process left unfinished beside its own files is gone after the next start, nothing else", async () => {
  await using site = await TestSite.start({ apps: { quick: { command: traced("exit 0") } } });
  await site.startAgent();
  await site.ended((await site.submit("quick")).id);
  const recorders = await recorderDirectory(site);
  await site.killAgent();
  site.killRunner();
  await site.killHub();
  const unfinished = (path: string): string => `${path}.${randomUUID()}.tmp`;
  const state = join(site.root, "state");
  const own = [
    ...["owner.json", "agent-id", "dialect"].map((name) => unfinished(join(state, name))),
    ...["recorder.sh", "recorder.pl"].map((name) => unfinished(join(recorders, name))),
    unfinished(join(site.root, "hub", "dev-credentials.json")),
  ];
  const others = [
    join(state, "owner.json.tmp"),
    unfinished(join(state, "notes")),
    unfinished(join(state, "notes", "owner.json")),
    unfinished(join(site.root, "inputs", "agent-id")),
  ];
  for (const path of [...own, ...others]) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "half");
  }
  await site.restartHub();
  await site.startAgent();
  await site.ended((await site.submit("quick")).id);
  await waitFor(async () => !(await Promise.all(own.map(isThere))).includes(true), {
    what: "the end of what was unfinished",
  });
  expect(await Promise.all(others.map(isThere))).toEqual(others.map(() => true));
});
