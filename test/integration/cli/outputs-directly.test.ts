import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { stringify } from "yaml";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { SshServer } from "../../helpers/engines/ssh-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";
import { ScriptedServer } from "./scripted.ts";

const time = "2026-11-20T08:00:00.000Z";
const id = "nmdc:sys0one";

const limits = { nodes: 1, cores: 1, gpus: 0 };

/** What an agent says of a job that has ended. */
function jobWith(outputs: readonly object[], directory: string): object {
  return {
    ...{ id, op_id: "x", name: null, workflow: "w-1", app: "w", target: "cpu", state: "JOB_FINISHED", phase: "none" },
    ...{ status: "FINISHED", hold: null, attempt: 1, token: "abcdefghijklmno", epoch: 1, claimed_at: time },
    ...{
      updated_at: time,
      ended_at: time,
      failure: null,
      end: null,
      waiting: null,
      unsent: 0,
      fenced: null,
      directory,
    },
    ...{ progress: null, history: [], attempts: [], inputs: [], outputs, parameters: {}, limits },
  };
}

function statusWith(file: string): object {
  return {
    ...{ site: "lab", version: "0.0.0", mode: "running", mode_reason: null, mode_by: null, mode_until: null },
    ...{ since: time, pid: 1, problems: [], jobs: [], targets: [], apps: [], cache: null, next: [], log: [] },
    api: {
      ...{ url: "http://127.0.0.1:1", dialect: "hub", reachable: true, since: time, last_sync_at: null },
      ...{ next_sync_at: null, last_error: null },
    },
    outbox: { unsent: 0, oldest_at: null, parked: 0 },
    journal: { health: "ok", bytes: 0, records: 0, last_sync_ms: 0 },
    config: { file, digest: "x", loaded_at: time, problem: null },
  };
}

describeWithEngine("sshd", "outputs get --local", () => {
  it("copies what lies here still, fetches what lies at a remote with the site's own login, verified, and from nowhere that the site does not deliver to", async () => {
    await using directory = await temporaryDirectory("sa-cli-");
    await using server = await SshServer.start();
    const shell = new Shell(directory);
    const there = server.directory.join("results");
    await Promise.all([there, directory.join("config"), directory.join("work")].map((path) => mkdir(path)));
    const [big, altered] = [randomBytes(300_000), Buffer.from("as it was\n")];
    await writeFile(`${there}/big.bam`, big);
    await writeFile(`${there}/altered.txt`, "as it is!\n");
    await writeFile(server.directory.join("other.txt"), altered);
    await writeFile(directory.join("config", "secret"), "x\n", { mode: 0o600 });
    const { key, ...ssh } = { key: { file: server.userKey }, host: "127.0.0.1", port: server.port };
    const site = {
      site: "lab",
      api: { url: "http://127.0.0.1:1", client_id: "x", client_secret: { file: "secret" } },
      hosts: { here: { workdir: directory.join("work") } },
      targets: { cpu: { host: "here", launcher: "local" } },
      remotes: { archive: { ssh: { ...ssh, key, known_hosts: server.knownHosts, config: false }, path: there } },
      policy: { destinations: ["archive:/"] },
      apps: {},
    };
    await writeFile(shell.siteFile, stringify(site));
    const output = (path: string, content: Buffer, url = `sftp://archive${there}/${path}`) => {
      const sha256 = createHash("sha256").update(content).digest("hex");
      return { item: path, path, url, bytes: content.length, sha256 };
    };
    const job = jobWith(
      [
        output("big.bam", big),
        output("altered.txt", altered),
        output("other.txt", altered, `sftp://archive${server.directory.join("other.txt")}`),
        output("kept.txt", altered, "siteagent://hub/kept.txt"),
        output("here.txt", altered),
        output("other-here.txt", altered, "siteagent://hub/other-here.txt"),
      ],
      directory.join("work"),
    );
    await mkdir(directory.join("work", "work"));
    await writeFile(directory.join("work", "work", "here.txt"), altered);
    await writeFile(directory.join("work", "work", "other-here.txt"), "as it is!\n");
    await mkdir(directory.join("run"));
    const answer = (path: string) => (path === "/v1/status" ? statusWith(shell.siteFile) : job);
    await using _agent = await ScriptedServer.start(
      ({ url = "" }, response) => response.end(JSON.stringify(answer(url))),
      directory.join("run", "agent.sock"),
    );
    const get = (...args: string[]) =>
      shell.run(["outputs", "get", id, ...args, "--to", "got", "--local"], {
        env: { SITEAGENT_SOCKET: directory.join("run", "agent.sock") },
      });
    const first = await get("big.bam");
    expect(first.stderr).toBe("");
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining("digest verified") });
    expect(big.equals(await readFile(directory.join("got", "big.bam")))).toBe(true);
    await truncate(directory.join("got", "big.bam"), 7);
    expect(await get("big.bam")).toMatchObject({ code: 65, stderr: expect.stringContaining("would be replaced") });
    expect((await get("big.bam", "--force")).code).toBe(0);
    expect(big.equals(await readFile(directory.join("got", "big.bam")))).toBe(true);
    // What still lies here is not asked for there.
    expect((await get("here.txt")).code).toBe(0);
    expect(altered.equals(await readFile(directory.join("got", "here.txt")))).toBe(true);
    const wrong = await get("altered.txt", "other.txt", "kept.txt", "other-here.txt");
    expect(wrong).toMatchObject({ code: 1, stdout: "" });
    expect(wrong.stderr).toMatch(/altered\.txt {2}not fetched: .*promised/);
    expect(wrong.stderr).toMatch(/other\.txt {2}not fetched: .*policy/);
    expect(wrong.stderr).toMatch(/kept\.txt {2}not fetched: .*leave --local away/);
    expect(wrong.stderr).toMatch(/other-here\.txt {2}not fetched: .*not on this machine any more/);
    expect((await readdir(directory.join("got"))).toSorted()).toEqual(["big.bam", "here.txt"]);
  });
});
