/** Hooks of both kinds: what they may answer, what happens when they misbehave, and that nothing of it goes on for ever. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const answer = (result: object): { readonly command: string[] } => ({
  command: ["/bin/sh", "-c", `printf '%s' "$1" > "$SITEAGENT_HOOK_RESULT"`, "hook", JSON.stringify(result)],
});
const shell = (script: string): { readonly command: string[] } => ({ command: ["/bin/sh", "-c", script] });
const exit = (code: number): { readonly command: string[] } => ({ command: traced(`exit ${code}`) });
const sleeps = { command: traced("sleep 60"), resources: { walltime: "1s" } };
const done = { type: "boolean", default: false };

const apps = {
  parameters: {
    parameters: { level: { type: "integer", default: 1, maximum: 9 }, name: { type: "string", default: "none" } },
    hooks: { preprocess: answer({ parameters: { level: 7 }, data: { seen: "yes" } }) },
    command: ["/bin/sh", "-c", 'echo "$1 $2" > out.txt', "x", "{{level}}", "{{name}}"],
    outputs: { out: { from: "out.txt" } },
  },
  wrong_parameter: {
    parameters: { level: { type: "integer", default: 1, maximum: 9 } },
    hooks: { preprocess: answer({ parameters: { level: 12 } }) },
    ...exit(0),
  },
  refuses: { hooks: { preprocess: answer({ outcome: "fail", reason: "sample is empty" }) }, ...exit(0) },
  accepts: { hooks: { handle_error: answer({ outcome: "accept", reason: "3 is fine" }) }, ...exit(3) },
  timeout_accepted: { hooks: { handle_timeout: answer({ outcome: "accept", reason: "long enough" }) }, ...sleeps },
  restarts_once: {
    hooks: {
      handle_error: shell(
        `[ "$SITEAGENT_ATTEMPT" = 1 ] && echo '{"outcome":"restart"}' > "$SITEAGENT_HOOK_RESULT"; exit 0`,
      ),
    },
    command: traced('[ "$SITEAGENT_ATTEMPT" = 2 ]'),
  },
  restarts_for_ever: { hooks: { handle_error: answer({ outcome: "restart" }) }, ...exit(1) },
  garbage: { hooks: { preprocess: shell(`echo '{"outcome":' > "$SITEAGENT_HOOK_RESULT"`) }, ...exit(0) },
  huge: { hooks: { preprocess: shell(`head -c 1000000 /dev/zero > "$SITEAGENT_HOOK_RESULT"`) }, ...exit(0) },
  misplaced: { hooks: { preprocess: answer({ outcome: "accept" }) }, ...exit(0) },
  unknown_field: { hooks: { preprocess: answer({ outcom: "fail" }) }, ...exit(0) },
  breaks: { hooks: { preprocess: shell("echo no licence >&2; exit 4") }, ...exit(0) },
  silent: { hooks: { preprocess: shell("true"), postprocess: shell("true") }, ...exit(0) },
  cancelled: { hooks: { preprocess: shell("touch begun; sleep 60") }, ...exit(0) },
  fifo: { hooks: { preprocess: shell('mkfifo "$SITEAGENT_HOOK_RESULT"') }, ...exit(0) },
  link: { hooks: { preprocess: shell('ln -s ../../../secret "$SITEAGENT_HOOK_RESULT"') }, ...exit(0) },
  missing: { hooks: { preprocess: { command: ["/no/such/hook"] } }, ...exit(0) },
  hangs: { hooks: { preprocess: { command: ["/bin/sh", "-c", "trap '' TERM; sleep 60"], timeout: "1s" } }, ...exit(0) },
  killed: { hooks: { preprocess: shell("kill -9 $$") }, ...exit(0) },
  module: { hooks: { postprocess: { module: "hooks.mjs" } }, ...exit(0) },
  module_missing: { hooks: { preprocess: { module: "hooks.mjs" } }, ...exit(0) },
  module_throws: { hooks: { handle_error: { module: "hooks.mjs" } }, parameters: { done }, ...exit(1) },
} as const;

let site: TestSite;
let control: Control;
beforeAll(async () => {
  site = await TestSite.start({ apps, slots: 8 });
  await writeFile(
    join(site.root, "hooks.mjs"),
    `export function postprocess(input) {
       return input.attempt === 1 ? { outcome: "restart", reason: "once more" } : { data: { attempts: input.attempt } };
     }
     export default { handle_error() { throw new Error("cannot handle"); } };`,
  );
  await site.startAgent();
  control = new Control(site);
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
});

async function outcome(app: keyof typeof apps) {
  const { id } = await site.submit(app);
  await site.ended(id, 90_000);
  const job = await site.client.job(id);
  return { id, status: job.status, attempt: job.attempt, failure: job.failure };
}

describe("a hook", () => {
  it("sets declared parameters that the command is filled with, and returns data", async () => {
    const { id, status } = await outcome("parameters");
    expect(status).toBe("FINISHED");
    const { directory, parameters } = await control.job(id);
    expect(await readFile(join(directory, "work", "out.txt"), "utf8")).toBe("7 none\n");
    expect(parameters).toEqual({ level: 7, name: "none" });
  });

  it.each([
    ["refuses", { code: "HOOK", category: "user", message: "preprocess: sample is empty" }],
    ["wrong_parameter", { code: "PARAMETERS", message: expect.stringMatching(/preprocess.*'12'/) }],
    ["garbage", { code: "INVALID", message: expect.stringMatching(/not JSON/) }],
    ["huge", { code: "INVALID", message: expect.stringMatching(/1000000 bytes/) }],
    ["misplaced", { code: "INVALID", message: expect.stringMatching(/'accept'; allowed: continue, fail/) }],
    ["unknown_field", { code: "INVALID", message: expect.stringMatching(/outcom/) }],
    ["breaks", { code: "LAUNCH", message: expect.stringMatching(/exit code 4: no licence/) }],
    ["fifo", { code: "INVALID", message: expect.stringMatching(/not a plain file/) }],
    ["link", { code: "INVALID", message: expect.stringMatching(/not a plain file/) }],
    ["missing", { code: "LAUNCH", message: expect.stringMatching(/no\/such\/hook/) }],
    ["killed", { code: "LAUNCH", message: expect.stringMatching(/signal SIGKILL/) }],
    ["module_missing", { code: "LAUNCH", message: expect.stringMatching(/no function 'preprocess'/) }],
  ] as const)(
    "G2, BAL-9: that ends as '%s' fails the job with a reason, and no attempt starts",
    async (app, failure) => {
      expect(await outcome(app)).toMatchObject({ status: "FAILED", attempt: 0, failure });
    },
  );

  it("G2, BAL-9: that hangs blocks its own job, visibly, and no other; it is ended after its time", async () => {
    const { id } = await site.submit("hangs");
    const blocked = await control.untilJob("blocked", id, (job) => job.hold?.kind === "blocked");
    expect(blocked.hold?.reason).toMatch(/hook 'preprocess' did not end within its time limit/);
    expect((await control.status()).jobs.find((job) => job.id === id)).toMatchObject({ status: "BLOCKED" });
    expect(await outcome("silent")).toMatchObject({ status: "FINISHED" });
    await site.client.cancel(id, "enough");
    expect(await site.ended(id)).toMatchObject({ status: "CANCELLED", attempt: 0 });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("that handles an error or a timeout may accept the end", async () => {
    const [error, timeout] = await Promise.all([outcome("accepts"), outcome("timeout_accepted")]);
    expect(error).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(timeout).toMatchObject({ status: "FINISHED", attempt: 1 });
  });

  it("that handles an error may ask for one more attempt", async () => {
    expect(await outcome("restarts_once")).toMatchObject({ status: "FINISHED", attempt: 2 });
  });

  it("BAL-11: that always asks for one more attempt gets 100 in all", async () => {
    expect(await outcome("restarts_for_ever")).toMatchObject({
      status: "FAILED",
      attempt: 100,
      failure: { code: "ATTEMPTS", category: "user" },
    });
  });

  it("BAL-6: that says nothing lets the job go on", async () => {
    expect(await outcome("silent")).toMatchObject({ status: "FINISHED" });
  });

  it("of an ES module sees the job and may ask for another attempt; one that throws fails the job", async () => {
    expect(await outcome("module")).toMatchObject({ status: "FINISHED", attempt: 2 });
    expect(await outcome("module_throws")).toMatchObject({
      status: "FAILED",
      failure: { message: expect.stringMatching(/cannot handle/) },
    });
  });

  it("is ended at once by a cancel, with all it started", async () => {
    const { id } = await site.submit("cancelled");
    await waitFor(async () => readFile(join((await control.job(id)).directory, "work", "begun")), {
      what: "the hook to run",
      timeoutMs: 20_000,
    });
    await site.client.cancel(id, "enough");
    expect(await site.ended(id)).toMatchObject({ status: "CANCELLED", attempt: 0 });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

it("a hook of which the agent died in the middle runs again", async () => {
  await using own = await TestSite.start({
    apps: { twice: { hooks: { preprocess: shell("echo x >> ran") }, ...exit(0) } },
  });
  const agent = await own.startAgent({ failpoints: "host.after-run=kill", wait: false });
  const { id } = await own.submit("twice");
  await agent.finished;
  await own.startAgent();
  expect(await own.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
  const { directory } = await new Control(own).job(id);
  expect(await readFile(join(directory, "work", "ran"), "utf8")).toBe("x\nx\n");
});
