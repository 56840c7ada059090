/** Hooks that overrun or break: the job fails with a code, and how much of the hook's words leaves the site is the site's to say. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { Control } from "../integration/agent/control.ts";

const shell = (script: string): { readonly command: string[] } => ({ command: ["/bin/sh", "-c", script] });
const quick = { command: traced("exit 0") };
const apps = {
  overruns: { hooks: { preprocess: { ...shell("echo begun; sleep 60"), timeout: "500ms" } }, ...quick },
  killed: { hooks: { preprocess: shell("kill -SEGV $$") }, ...quick },
  breaks: { hooks: { preprocess: shell("echo one; echo 'no licence for /opt/tool' >&2; exit 4") }, ...quick },
};

/** How a job of the app fails, and what its hook printed. */
async function failure(site: TestSite, app: keyof typeof apps) {
  const { id } = await site.submit(app);
  expect(await site.ended(id, 90_000)).toMatchObject({ status: "FAILED", attempt: 0 });
  const { directory } = await new Control(site).job(id);
  const log = await readFile(join(directory, "hooks", "preprocess.log"), "utf8");
  return { ...(await site.client.job(id)).failure, log };
}

describe("a hook", () => {
  it.each([
    ["full", "hook 'preprocess' ended with exit code 4: no licence for /opt/tool"],
    ["minimal", "hook 'preprocess' ended with exit code 4"],
  ])("that breaks fails its job; with report: %s central is told '%s'", async (report, sentence) => {
    await using site = await TestSite.start({ apps, agent: { report } });
    await site.startAgent();
    const log = "one\nno licence for /opt/tool\n";
    expect(await failure(site, "breaks")).toMatchObject({ code: "LAUNCH", message: sentence, log });
  });

  it("that is killed or overruns its time limit fails its job, and nothing is started", async () => {
    await using site = await TestSite.start({ apps });
    await site.startAgent();
    const [killed, overruns] = await Promise.all([failure(site, "killed"), failure(site, "overruns")]);
    expect(killed).toMatchObject({ code: "LAUNCH", message: "hook 'preprocess' ended with signal SIGSEGV", log: "" });
    expect(overruns).toMatchObject({
      code: "TIMEOUT",
      message: "hook 'preprocess' did not end within its time limit",
      log: "begun\n",
    });
    expect((await site.starts()).size).toBe(0);
  });
});
