/** Secrets stay where they belong: every one is marked, and looked for in all that siteagent writes, starts, answers and sends. */
import { createHash } from "node:crypto";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { leaksInText } from "../helpers/canary.ts";
import { runCli } from "../helpers/cli.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const untilGo = "while [ ! -e go ]; do sleep 0.05; done";

/** A site whose app has a secret parameter; the command and a hook look at all that they are given. */
async function secretive(options: Partial<Parameters<typeof TestSite.start>[0]> = {}) {
  const site = await TestSite.start({
    apps: {
      secretive: {
        parameters: { key: { type: "secret", file: "site-secrets/key" } },
        hooks: {
          preprocess: { command: ["/bin/sh", "-c", 'env; cat "$SITEAGENT_HOOK_INPUT"; cat /proc/self/cmdline'] },
        },
        command: traced(`env; sha256sum "$1" > sum; ${untilGo}; exit 3`).concat("x", "{{key}}"),
        outputs: { sum: { from: "sum" } },
        archive: "always",
      },
    },
    ...options,
  });
  const file = await site.secretFile("key");
  return { site, file, control: new Control(site) };
}

/** What the hub answers to its administrator, everywhere where something of jobs, sites and accounts is told. */
async function hubAnswers(site: TestSite, job: string): Promise<string> {
  const { token } = await site.client.login();
  const made = await fetch(`${site.access.url}/siteagent/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "script", role: "viewer" }),
  });
  const { secret: apiToken } = (await made.json()) as { secret: string };
  site.canaries.add("an API token", apiToken);
  const paths = [
    "jobs",
    `jobs/${job}`,
    `jobs/${job}/logs/stdout`,
    `jobs/${job}/outputs`,
    "events?after=0",
    "sites",
    "users",
    "tokens",
  ];
  const answers = paths.map(async (path) => {
    const answer = await fetch(`${site.access.url}/siteagent/v1/${path}`, {
      headers: { authorization: `Bearer ${apiToken}` },
    });
    return `${path}: ${answer.status} ${await answer.text()}`;
  });
  const plain = ["jobs", "operations", "sites", "openapi.json", "version"].map(async (path) =>
    (await fetch(`${site.access.url}/${path}`, { headers: { authorization: `Bearer ${token}` } })).text(),
  );
  return (await Promise.all([...answers, ...plain])).join("\n");
}

describe("G4: every secret of a site, marked", () => {
  it(
    "is in no log, journal, argument, environment, report, archive, table, answer or dump",
    { timeout: 240_000 },
    async () => {
      const { site, file, control } = await secretive();
      await using _ = site;
      const agent = await site.startAgent();
      const { id } = await site.submit("secretive");
      await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
      const { directory } = await control.job(id);
      await waitFor(() => readFile(join(directory, "work", "sum")), { what: "the job to have read its secret" });
      expect(await site.leaks()).toEqual([]);
      await writeFile(join(directory, "work", "go"), "");
      expect(await site.ended(id)).toMatchObject({ status: "FAILED" });

      // The job did get it, and it is gone with the job's end.
      const digest = createHash("sha256")
        .update(await readFile(file))
        .digest("hex");
      expect(await readFile(join(directory, "work", "sum"), "utf8")).toContain(digest);
      await waitFor(async () => !(await readdir(directory)).includes("secrets"), {
        what: "the end of the job's secrets",
      });

      agent.signal("SIGUSR1");
      await agent.output(/state dump/);
      const told = [
        JSON.stringify(await control.status()),
        JSON.stringify(await control.job(id)),
        await hubAnswers(site, id),
      ];
      for (const command of [["config", "show"], ["doctor"], ["status"], ["validate"], ["job", id, "--local"]]) {
        const { stdout, stderr } = await runCli(
          [...command, ...(command[0] === "job" ? [] : ["--config", site.siteFile]), "-o", "json"],
          {
            cwd: site.root,
            env: { SITEAGENT_RUNTIME_DIR: join(site.root, "run"), SITEAGENT_DEBUG: "1" },
          },
        );
        expect(stdout + stderr, command.join(" ")).not.toBe("");
        told.push(stdout, stderr);
      }
      expect(leaksInText(told.join("\n"), site.canaries, "what was told")).toEqual([]);
      expect(told.join("\n")).toContain("secretive");
      expect(await site.leaks()).toEqual([]);
    },
  );

  it("is in no last word of an agent that dies of an exception", async () => {
    const { site } = await secretive();
    await using _ = site;
    const agent = await site.startAgent({ failpoints: "agent.before-journal=error", wait: false });
    const { code, stdout, stderr } = await agent.finished;
    expect({ code, told: stdout + stderr }).toMatchObject({ code: 70, told: expect.stringContaining("failpoint") });
    expect(await site.leaks()).toEqual([]);
  });

  it("is told when it is found: the scan of a site fails its test", async () => {
    const { site } = await secretive();
    await writeFile(join(site.root, "state", "note"), `login with ${site.access.site.client_secret}`);
    await expect(site[Symbol.asyncDispose]()).rejects.toThrow("the client secret is in the file 'state/note'");
  });
});

describe("G7: a job that looks around", () => {
  it("finds no secret in the environment, arguments and descriptors of the agent, the runner and itself", async () => {
    // Every process of this installation, which runs as the same account; what is found lands in the job's output.
    const look = [
      'for p in /proc/[0-9]*; do grep -qaF "$0" "$p/cmdline" || continue',
      'tr "\\0" " " < "$p/cmdline"; tr "\\0" "\\n" < "$p/environ"; ls -l "$p/fd"; done 2> /dev/null',
      'ls -l /proc/self/fd | sed "s/^.* \\([0-9]*\\) -> /own \\1 -> /"',
      "exit 0",
    ];
    await using site = await TestSite.start({ apps: { curious: { command: traced(look.join("; ")) } } });
    await site.replaceInSiteFile(look[0] ?? "", (look[0] ?? "").replace("$0", site.root));
    await site.startAgent();
    const { id } = await site.submit("curious");
    await site.ended(id);
    const attempt = (await new Control(site).job(id)).attempts[0]?.directory ?? "";
    const seen = await readFile(join(attempt, "out"), "utf8");
    // It did look into the agent and the runner.
    const looked = [`run --config ${site.siteFile}`, "SITEAGENT_STATE_DIR=", "runner/main.ts", "socket:["];
    expect(looked.filter((part) => !seen.includes(part))).toEqual([]);
    expect(site.canaries.findIn(seen)).toEqual([]);
    // The listing itself needs one descriptor more than 0, 1 and 2.
    const own = [...seen.matchAll(/^own (\d+) -> /gm)].map(([, number]) => Number(number));
    expect(own.toSorted((x, y) => x - y)).toEqual([0, 1, 2, 3]);
  });
});

it("G5: a job's secret that others can read by now is not handed out: the job fails and says why, nothing starts", async () => {
  const { site, file, control } = await secretive();
  await using _ = site;
  await site.startAgent();
  await chmod(file, 0o644);
  const { id } = await site.submit("secretive");
  expect(await site.ended(id)).toMatchObject({ status: "FAILED" });
  expect(await site.client.job(id)).toMatchObject({
    failure: { code: "SECRET", message: expect.stringMatching(/0644.*0600/) },
  });
  expect((await site.starts()).size).toBe(0);
  const { directory } = await control.job(id);
  expect((await readdir(directory)).includes("secrets")).toBe(false);
});
