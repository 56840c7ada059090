/** The holder of a terminal as the recorder runs it: its command's output is its own, and it ends as the command ends. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { PtyOrder } from "../../../src/runner/pty-command.ts";
import { frame, frameReader } from "../../../src/runner/pty-frames.ts";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

failOnLeakedProcesses();

const holder = join(repository, "src", "runner", "pty-holder.ts");

async function hold(
  directory: TemporaryDirectory,
  script: string,
  change: Partial<PtyOrder> = {},
): Promise<{ readonly program: Program; readonly socket: string }> {
  const socket = directory.join("tty");
  const environment = { PATH: "/usr/local/bin:/usr/bin:/bin" };
  const argv = ["sh", "-c", script] as const;
  const order: PtyOrder = {
    argv: [...argv],
    environment,
    workDirectory: directory.path,
    openFiles: 512,
    socket,
    ...change,
  };
  await writeFile(directory.join("pty.json"), JSON.stringify(order));
  const program = await Program.start(process.execPath, [holder, directory.path], {
    env: cleanEnvironment(directory.path),
    input: "",
  });
  return { program, socket: order.socket };
}

/** Somebody at the socket, with all that it was sent. */
async function visit(
  path: string,
): Promise<{ readonly socket: Socket; readonly seen: string[]; readonly left: Promise<void> }> {
  await waitFor(() => existsSync(path), { what: "the terminal's socket" });
  const socket = createConnection(path);
  const seen: string[] = [];
  const read = frameReader((kind, content) => seen.push(`${kind}${content.toString("utf8")}`));
  socket.on("data", read).on("error", () => {});
  const left = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { socket, seen, left };
}

const go = "while [ ! -e go ]; do sleep 0.05; done";

describe("the holder of a terminal", () => {
  it("gives the command a terminal of the kind that its environment names, its limit of files, and its exit code on", async () => {
    await using directory = await temporaryDirectory();
    const environment = { PATH: "/usr/bin:/bin", TERM: "vt100" };
    const { program } = await hold(directory, "test -t 0 && echo $TERM $(ulimit -n) $(pwd); exit 7", { environment });
    await using _ = program;
    const { stdout, code } = await program.result(30_000);
    expect({ stdout, code }).toEqual({ stdout: `vt100 512 ${directory.path}\r\n`, code: 7 });
    expect(existsSync(directory.join("tty"))).toBe(false);
  });

  // PIPE, USR1 and TERM mean something of their own to Node: an end by them must not look like an end with 0.
  it.each(["PIPE", "USR1", "USR2", "TERM", "HUP", "KILL", "ALRM"])(
    "dies of SIG%s if its command does",
    async (name) => {
      await using directory = await temporaryDirectory();
      const { program } = await hold(directory, `kill -${name} $$; sleep 60`);
      await using _ = program;
      expect(await program.result(30_000)).toMatchObject({ code: undefined, signal: `SIG${name}` });
    },
  );

  it("ends with 128 and its number after a signal that has no name, never with 0", async () => {
    await using directory = await temporaryDirectory();
    const { program } = await hold(directory, "kill -40 $$; sleep 60");
    await using _ = program;
    expect(await program.result(30_000)).toMatchObject({ code: 168 });
  });

  it("outlives signals that are meant for its command, and everybody who attaches late sees what was printed", async () => {
    await using directory = await temporaryDirectory();
    const { program, socket } = await hold(directory, `echo begun; ${go}; echo over; exit 3`);
    await using _ = program;
    await program.output(/begun/);
    for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"] as const) program.signal(signal);
    const late = await visit(socket);
    await waitFor(() => late.seen.join("").includes("begun"), { what: "the replay" });
    await writeFile(directory.join("go"), "");
    await late.left;
    expect(late.seen.at(-1)).toBe('x{"exitCode":3}');
    expect(late.seen.join("")).toContain("over");
    expect(await program.result(30_000)).toMatchObject({ code: 3 });
  });

  it("sends away who speaks another language or gives a size that no terminal has, and the command goes on", async () => {
    await using directory = await temporaryDirectory();
    const { program, socket } = await hold(directory, `stty size; ${go}; stty size; read -r line; echo "got $line"`);
    await using _ = program;
    await program.output(/24 80/);
    const stranger = await visit(socket);
    stranger.socket.write("GET / HTTP/1.1\r\n\r\n");
    await stranger.left;
    const odd = await visit(socket);
    odd.socket.write(frame("r", "no size"));
    await odd.left;
    const person = await visit(socket);
    for (const size of [
      { columns: 0, rows: 30 },
      { columns: 100, rows: 1e6 },
      { columns: 1.5, rows: 2 },
    ]) {
      person.socket.write(frame("r", JSON.stringify(size)));
    }
    person.socket.write(frame("r", JSON.stringify({ columns: 100, rows: 30 })));
    person.socket.write(frame("x", "what only the holder says"));
    await writeFile(directory.join("go"), "");
    await program.output(/30 100/);
    person.socket.write(frame("i", "hello\n"));
    await person.left;
    expect(await program.result(30_000)).toMatchObject({ code: 0, stdout: expect.stringContaining("got hello") });
  });

  it("waits for nobody who does not read", async () => {
    await using directory = await temporaryDirectory();
    const { program, socket } = await hold(directory, `${go}; head -c 12000000 /dev/zero | tr '\\0' x; exit 4`);
    await using _ = program;
    const { socket: sleeper } = await visit(socket);
    sleeper.pause();
    await writeFile(directory.join("go"), "");
    const { code, stdout } = await program.result(60_000);
    sleeper.destroy();
    expect({ code, bytes: stdout.length }).toEqual({ code: 4, bytes: 12_000_000 });
  });

  it("runs its command also where nobody can attach", async () => {
    await using directory = await temporaryDirectory();
    const { program } = await hold(directory, "echo alone; exit 5", { socket: join(directory.path, "missing", "tty") });
    await using _ = program;
    expect(await program.result(30_000)).toMatchObject({ code: 5, stdout: "alone\r\n" });
  });
});
