import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { createHubClient, type HubClient } from "../../../src/sdk/client.ts";
import { startCli } from "../../helpers/cli.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { freshDatabase } from "../../helpers/engines/postgres.ts";
import type { Program } from "../../helpers/program.ts";
import { endInstallation } from "../../helpers/site.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { ask } from "./client.ts";

const admin = { username: "boss", password: "correct horse battery" };
const workflow = "hello-1.0.0";

interface HubProcess {
  readonly program: Program;
  readonly url: string;
}

/** A hub as an administrator starts it; `port` 0 is any free one. */
async function startHub(root: string, port: number): Promise<HubProcess> {
  const args = ["hub", "--config", join(root, "hub.yaml"), "--port", String(port), "-o", "json"];
  const program = await startCli(args, { home: root });
  const [line = ""] = await program.output(/^\{.*\}$/m);
  return { program, url: (JSON.parse(line) as { url: string }).url };
}

async function writePrivate(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 });
}

/** Site and client as docs/guides/running-a-hub.md makes them. */
async function newClient(hub: HubProcess): Promise<{ client_id: string; client_secret: string }> {
  const login = await ask(hub, "POST", "/token", { form: { grant_type: "password", ...admin } });
  const token = login.json.access_token as string;
  expect((await ask(hub, "POST", "/sites", { token, json: { id: "lab-a" } })).status).toBe(201);
  const made = await ask(hub, "PUT", `/siteagent/v1/workflows/${workflow}`, { token, json: { claims: "exclusive" } });
  expect(made.status).toBe(200);
  const answer = await ask(hub, "POST", "/sites/lab-a:generateCredentials", { token });
  return answer.json as { client_id: string; client_secret: string };
}

async function writeSite(root: string, url: string, client: { client_id: string; client_secret: string }) {
  await writePrivate(join(root, "client-secret"), client.client_secret);
  const site = {
    site: "lab-a",
    api: { url, client_id: client.client_id, client_secret: { file: "client-secret" }, poll: "200ms" },
    agent: { state_dir: "state", runtime_dir: "run", report: "full", min_free_space: "1MiB" },
    hosts: { here: { workdir: "work" } },
    targets: { local: { host: "here", launcher: "local", slots: 2 } },
    apps: {
      hello: { workflow, target: "local", command: ["/bin/sh", "-c", 'echo x >> "$SITEAGENT_JOB_DIR/../../starts"'] },
    },
  };
  await writePrivate(join(root, "site.yaml"), stringify(site));
}

function clientOf(hub: HubProcess): HubClient {
  return createHubClient({ url: hub.url, ...admin });
}

async function finished(client: HubClient, id: string): Promise<void> {
  let last: unknown;
  await waitFor(
    async () => {
      const job = await client.job(id);
      last = job;
      return job.ended_at !== null;
    },
    { what: () => `the end of job ${id}; it is ${JSON.stringify(last)}`, timeoutMs: 30_000 },
  );
  expect(last).toMatchObject({ status: "FINISHED", state: "JOB_FINISHED", attempt: 1, site: "lab-a" });
}

describeWithEngine("postgres", "hub processes on one PostgreSQL, as they are run in earnest", () => {
  test("an agent runs jobs through one of them, also when it is killed and comes back", async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await freshDatabase());
    const { path: root } = stack.use(await temporaryDirectory());
    stack.defer(() => endInstallation(root));
    await writePrivate(join(root, "database"), `${database.url}\n`);
    await writePrivate(join(root, "password"), `${admin.password}\n`);
    const settings = {
      listen: { port: 0 },
      store: { kind: "postgres", url: { file: "database" }, pool: 4 },
      admin: { username: admin.username, password: { file: "password" } },
    };
    await writePrivate(join(root, "hub.yaml"), stringify(settings));
    // Both make the tables of the empty database at the same time.
    const [one, two] = await Promise.all([startHub(root, 0), startHub(root, 0)]);
    stack.use(one.program);
    stack.use(two.program);

    await writeSite(root, one.url, await newClient(two));
    const agent = await startCli(["run", "--config", join(root, "site.yaml")], { home: root });
    stack.use(agent);
    const client = stack.use(clientOf(two));
    await waitFor(async () => (await client.sites()).some((site) => site.last_sync_at !== null), {
      what: () => `the site to speak with the hub\n${agent.stdout.slice(-2_000)}`,
      timeoutMs: 20_000,
    });

    // Made at one hub, for a site that waits at the other.
    const first = await client.submit({ workflow });
    await finished(client, first.id);

    // The agent waits in a long poll when its hub dies; what is made meanwhile runs once the hub is back.
    one.program.signal("SIGKILL");
    await one.program.finished;
    const second = await client.submit({ workflow });
    const again = await startHub(root, Number(new URL(one.url).port));
    stack.use(again.program);
    await finished(client, second.id);
    const seen = stack.use(clientOf(again));
    expect((await seen.job(second.id)).status).toBe("FINISHED");
    expect(await readFile(join(root, "starts"), "utf8")).toBe("x\nx\n");
    expect(await readdir(join(root, "work"))).toHaveLength(2);
  });
});
