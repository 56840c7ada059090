import { once } from "node:events";
import { mkdir, symlink } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { callContext } from "../../../src/conformance/suite.ts";
import { SshLink } from "../../../src/hosts/ssh/link.ts";
import { type RemoteStream, streamRemotely } from "../../../src/hosts/ssh/stream.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { SshServer, type SshServerOptions } from "../../helpers/engines/ssh-server.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";

failOnLeakedProcesses();

const environment = { PATH: "/usr/bin:/bin", SAYS: "it's\na line" };
const sh = (script: string): readonly [string, ...string[]] => ["/bin/sh", "-c", script];

interface Streams extends AsyncDisposable {
  readonly server: SshServer;
  start(argv: readonly [string, ...string[]], change?: { cwd?: string; signal?: AbortSignal }): Promise<RemoteStream>;
}

async function streams(options: SshServerOptions = {}): Promise<Streams> {
  const server = await SshServer.start(options);
  const link = new SshLink(server.settings());
  return {
    server,
    start: (argv, { cwd = server.directory.path, signal } = {}) =>
      streamRemotely(link, { argv, cwd, environment }, callContext(signal)),
    async [Symbol.asyncDispose]() {
      await link[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function pidFrom({ pipe }: RemoteStream): Promise<number> {
  await once(pipe, "readable");
  return Number(String(pipe.read()));
}

describeWithEngine("sshd", "a streaming command by SSH", () => {
  it("passes every byte both ways, whatever rc files print before, and tells exit code and words", async () => {
    const login = '#!/bin/sh\necho welcome; echo to you >&2\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n';
    for (const options of [{}, { login }]) {
      await using far = await streams(options);
      const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * index) % 256));
      await using copy = await far.start(["cat"]);
      const back: Buffer[] = [];
      copy.pipe.on("data", (chunk: Buffer) => back.push(chunk));
      copy.pipe.end(bytes);
      expect(await copy.ended).toEqual({ exitCode: 0, stderr: "" });
      expect(Buffer.concat(back).equals(bytes)).toBe(true);
      await using words = await far.start(sh('printf %s "$SAYS"; echo no >&2; exit 7'));
      expect(await text(words.pipe)).toBe(environment.SAYS);
      expect(await words.ended).toEqual({ exitCode: 7, stderr: "no" });
      await using none = await far.start(["no-such-program"]);
      none.pipe.resume();
      expect(await none.ended).toMatchObject({ exitCode: 127 });
    }
  });

  it("runs nothing where its directory is gone or has become a link, or where the account runs no commands", async () => {
    await using far = await streams();
    await mkdir(far.server.directory.join("real"));
    await symlink("real", far.server.directory.join("link"));
    for (const [name, code] of [
      ["nowhere", "CWD"],
      ["link", "MOVED"],
    ] as const) {
      const started = far.start(["cat"], { cwd: far.server.directory.join(name) });
      await expect(started).rejects.toMatchObject({ code: "LAUNCH", details: { code } });
    }
    await using closed = await streams({ login: "#!/bin/sh\necho This account is closed.\n" });
    await expect(closed.start(["cat"])).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("This account is closed.") as unknown,
    });
  });

  it("A7: ends there when it is cancelled, given up or its connection is lost", async () => {
    await using far = await streams();
    for (const [end, expected] of [
      [(stopper: AbortController) => stopper.abort(), { code: "CANCELLED" }],
      [() => far.server.cutConnections(), { code: "UNREACHABLE", details: { why: "network" } }],
    ] as const) {
      const stopper = new AbortController();
      await using stream = await far.start(sh("echo $$; exec cat"), { signal: stopper.signal });
      const pid = await pidFrom(stream);
      expect(isAlive(pid)).toBe(true);
      end(stopper);
      await expect(stream.ended).rejects.toMatchObject(expected);
      await waitFor(() => !isAlive(pid), { what: "the command to end" });
      expect(await text(stream.pipe)).toBe("");
    }
    await using other = await streams();
    const stream = await other.start(sh("echo $$; exec cat"));
    const pid = await pidFrom(stream);
    await stream[Symbol.asyncDispose]();
    await waitFor(() => !isAlive(pid), { what: "the command to end" });
  });
});
