import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { descendantsOf, listProcesses } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { TestSite, traced } from "../../helpers/site.ts";

const main = join(repository, "src", "main.ts");

// systemd-socket-activate, which comes with systemd-analyze, plays the socket unit.
describeWithEngine("systemd-analyze", "agent and runner in units of their own", () => {
  test("nothing of an attempt lives below the agent; a new agent adopts it", async () => {
    const script = "while [ ! -e go ]; do sleep 0.1; done; exit 0";
    const site = await TestSite.start({ apps: { work: { command: traced(script) } } });
    onTestFinished(() => site[Symbol.asyncDispose]());
    await mkdir(join(site.root, "unit"), { mode: 0o700 });
    const socket = join(site.root, "unit", "runner.sock");
    const env = cleanEnvironment(join(site.root, "home"), { SITEAGENT_RUNNER_SOCKET: socket });
    const runner = [process.execPath, main, "runner", "--socket", socket, "--state", join(site.root, "unit", "state")];
    const unit = await Program.start("systemd-socket-activate", ["--listen", socket, ...runner], { env, input: "" });
    onTestFinished(async () => void (await unit.stop()));
    await unit.output(/Listening on/, { stream: "stderr" });

    const startAgent = async (): Promise<Program> => {
      site.agent = await Program.start(process.execPath, [main, "run", "--config", site.siteFile], { env, input: "" });
      return site.agent;
    };
    const agent = await startAgent();
    const { id } = await site.submit("work");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const all = listProcesses();
    const attempt = all.filter((entry) => entry.cwd?.startsWith(join(site.root, "work")));
    expect(attempt.length).toBeGreaterThan(0);
    expect(descendantsOf(agent.pid, all)).toEqual([]);
    expect(existsSync(join(site.root, "state", "runner.log"))).toBe(false);

    agent.signal("SIGKILL");
    await agent.finished;
    await startAgent();
    await writeFile(join(await site.workDirectory(), "go"), "");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });
});
