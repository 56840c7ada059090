import { join } from "node:path";
import { expect, test } from "vitest";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { ask } from "./client.ts";

interface Printed {
  readonly url: string;
  readonly site: { readonly client_id: string; readonly client_secret: string };
}

interface Acknowledged {
  readonly job: string;
  readonly op: string | undefined;
}

async function start(dataDir: string): Promise<{ program: Program; hub: Printed }> {
  const program = await Program.start(process.execPath, [join(import.meta.dirname, "hub-process.ts"), dataDir], {
    env: { ...process.env },
  });
  const line = await waitFor(() => /^.*\n/.exec(program.stdout)?.[0], {
    what: () => `the hub to listen: ${program.stderr}`,
  });
  return { program, hub: JSON.parse(line) as Printed };
}

async function login(hub: Printed): Promise<string> {
  const form = {
    grant_type: "client_credentials",
    client_id: hub.site.client_id,
    client_secret: hub.site.client_secret,
  };
  return (await ask(hub, "POST", "/token", { form })).json.access_token as string;
}

/** Makes and claims jobs until the hub is gone; notes what it acknowledged. */
async function work(hub: Printed, token: string, acknowledged: Acknowledged[]): Promise<void> {
  for (;;) {
    let job: string | undefined;
    try {
      const made = await ask(hub, "POST", "/jobs", { token, json: { workflow: { id: "w" }, config: {} } });
      if (made.status !== 201) throw new Error(made.text);
      job = made.json.id as string;
      const claimed = await ask(hub, "POST", `/jobs/${job}:claim`, { token });
      acknowledged.push({ job, op: claimed.json.id as string });
    } catch {
      if (job !== undefined) acknowledged.push({ job, op: undefined });
      return;
    }
  }
}

test("what the hub acknowledged is there after it was killed, again and again", async () => {
  await using directory = await temporaryDirectory();
  const acknowledged: Acknowledged[] = [];
  for (const target of [20, 60, 100]) {
    const { program, hub } = await start(directory.path);
    await using _ended = program;
    const token = await login(hub);
    const workers = Array.from({ length: 6 }, () => work(hub, token, acknowledged));
    await waitFor(() => acknowledged.length >= target, { what: "some work to be acknowledged" });
    program.signal("SIGKILL");
    await Promise.all([program.finished, ...workers]);
  }
  const { program, hub } = await start(directory.path);
  await using _ended = program;
  for (const { job, op } of acknowledged) {
    const found = await ask(hub, "GET", `/jobs/${job}`);
    expect(found.status).toBe(200);
    if (op === undefined) continue;
    expect(found.json.claims).toEqual([{ op_id: op, site_id: "local" }]);
    expect((await ask(hub, "GET", `/operations/${op}`)).json).toMatchObject({ id: op, metadata: { job: { id: job } } });
  }
  expect(acknowledged.length).toBeGreaterThanOrEqual(100);
});
