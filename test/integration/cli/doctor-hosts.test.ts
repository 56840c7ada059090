import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { expect, it } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { makeKey, SshServer } from "../../helpers/engines/ssh-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";

const run = promisify(execFile);

interface CheckedHost {
  readonly id: string;
  readonly result: string;
  readonly found: string;
  readonly repair?: string;
}

/** What the doctor finds of the hosts of a site file whose only host is this server. */
async function diagnose(
  shell: Shell,
  server: SshServer,
  change: Readonly<Record<string, unknown>> = {},
  remotes: Readonly<Record<string, unknown>> = {},
  wanted = Object.keys(remotes).length === 0 ? "ssh-hosts" : "remotes",
): Promise<CheckedHost> {
  await mkdir(shell.directory.join("config"), { recursive: true });
  await writeFile(shell.directory.join("config", "secret"), "x\n", { mode: 0o600 });
  const ssh = {
    host: "127.0.0.1",
    port: server.port,
    key: { file: server.userKey },
    known_hosts: server.knownHosts,
    config: false,
    ...change,
  };
  const site = {
    site: "lab",
    api: { url: "http://127.0.0.1:1", client_id: "x", client_secret: { file: "secret" } },
    hosts: { login: { workdir: server.directory.join("work"), ssh } },
    targets: { cpu: { host: "login", launcher: "batch", scheduler: "slurm" } },
    remotes,
    apps: {},
  };
  await writeFile(shell.siteFile, stringify(site));
  const { stdout } = await shell.run(["doctor", "-o", "json"]);
  const { checks } = JSON.parse(stdout) as { readonly checks: readonly CheckedHost[] };
  const check = checks.find(({ id }) => id === wanted);
  if (!check) throw new Error("no such check");
  return check;
}

describeWithEngine("sshd", "the doctor looks at hosts by SSH", () => {
  it("F13: says of certificates of hosts and remotes that they are about to run out", async () => {
    await using directory = await temporaryDirectory("sa-cli-");
    await using server = await SshServer.start();
    const [authority, remoteKey] = [server.directory.join("authority"), server.directory.join("remote")];
    await makeKey(authority);
    await makeKey(remoteKey);
    const certify = (key: string, validity: string) =>
      run("ssh-keygen", ["-q", "-s", authority, "-I", "x", "-n", "x", "-V", validity, `${key}.pub`]);
    const shell = new Shell(directory);
    const remotes = { archive: { ssh: { host: "127.0.0.1", key: { file: remoteKey }, config: false } } };
    const look = () => diagnose(shell, server, {}, remotes, "ssh-certificates");
    await certify(server.userKey, "-1d:+30d");
    await certify(remoteKey, "-1d:+30d");
    expect(await look()).toMatchObject({ result: "ok" });
    await certify(remoteKey, "-30d:+1d");
    const { result, found } = await look();
    expect(result).toBe("warning");
    expect(found).toContain(`'${remoteKey}-cert.pub' runs out at`);
    expect(found).not.toContain(server.userKey);
  });

  it("says that one works, and what is wrong with one that does not, with the repair", async () => {
    await using directory = await temporaryDirectory("sa-cli-");
    await using server = await SshServer.start();
    const shell = new Shell(directory);
    expect(await diagnose(shell, server)).toMatchObject({
      result: "ok",
      found: expect.stringMatching(/^'login': Linux \S+ over SSH$/) as string,
    });

    await server.know("");
    const unknown = await diagnose(shell, server);
    expect(unknown).toMatchObject({ result: "error" });
    expect(unknown.found).toMatch(
      /^'login': the key of '\[127\.0\.0\.1\]:\d+' is not known: it shows ssh-ed25519 SHA256:/,
    );
    expect(unknown.repair).toContain(`>> ${server.knownHosts}`);

    await server.know(await server.knownLine());
    await server.down();
    expect(await diagnose(shell, server)).toMatchObject({
      result: "error",
      found: expect.stringContaining("ECONNREFUSED") as string,
    });
    const logins = server.log.match(/Accepted publickey/g);
    expect(logins).toHaveLength(1);
  });

  it("logs in to remotes, looks for their directories and says how files will be compared", async () => {
    await using directory = await temporaryDirectory("sa-cli-");
    await using server = await SshServer.start();
    const shell = new Shell(directory);
    const path = server.directory.path;
    const good = { "by-host": { host: "login", path }, sizes: { host: "login", path, verify: "size" } };
    expect(await diagnose(shell, server, {}, good)).toMatchObject({
      result: "ok",
      found: "'by-host': SFTP, files compared by sha256sum there, 'sizes': SFTP, files compared by size alone",
    });
    expect(await diagnose(shell, server, {}, { gone: { host: "login", path: `${path}/gone` } })).toMatchObject({
      result: "error",
      found: `'gone': '${path}/gone' is no directory there`,
      repair: "make it there, or correct 'path' of the remote",
    });
  });
});
