/**
 * Holds the terminal of one attempt: runs the command on it, writes what it prints to our standard output (the attempt's `out`), and lets
 * people attach. It is the recorder's child, so it needs neither agent nor runner, and ends as the command ended.
 */
import { chmodSync, existsSync, readFileSync, rmSync, writeSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import type { PtyOrder } from "./pty-command.ts";
import { frame, frameReader } from "./pty-frames.ts";

/** The part of node-pty that we use; its own types name another package. */
interface Terminal {
  onData(listener: (data: Buffer) => void): void;
  onExit(listener: (end: { exitCode: number; signal?: number }) => void): void;
  write(data: Buffer): void;
  resize(columns: number, rows: number): void;
}
interface NodePty {
  spawn(file: string, args: string[], options: object): Terminal;
}

/** What somebody who attaches late still sees. */
const replayBytes = 32 * 1024;
/** Somebody who reads slower than that is sent away: nobody may slow the command down. */
const slowestBytes = 4 * 1024 * 1024;

/** For the command: orders to end, and warnings before its time limit. */
const politeSignals = ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

const signalNames = Object.keys(constants.signals) as NodeJS.Signals[];

async function main(directory: string): Promise<void> {
  const order = JSON.parse(readFileSync(join(directory, "pty.json"), "utf8")) as PtyOrder;
  for (const signal of politeSignals) process.on(signal, () => {});
  const name = "node-pty";
  const pty = (await import(name)) as NodePty;
  // Node has raised its soft limit of open files; the command gets the one that was set for it back.
  const limited = existsSync("/usr/bin/prlimit");
  const [program, ...args] = limited ? ["/usr/bin/prlimit", `--nofile=${order.openFiles}:`, ...order.argv] : order.argv;
  const terminal = pty.spawn(program, args, {
    name: order.environment["TERM"] ?? "xterm-256color",
    cols: 80,
    rows: 24,
    cwd: order.workDirectory,
    env: order.environment,
    encoding: null,
  });
  const clients = new Set<Socket>();
  let replay: Buffer = Buffer.alloc(0);
  const server = createServer((socket) => {
    clients.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => clients.delete(socket));
    if (replay.length > 0) socket.write(frame("o", replay));
    socket.on("data", takeFrom(terminal, socket));
  });
  server.on("error", () => {}); // no attaching then; the command runs
  process.umask(0o077);
  rmSync(order.socket, { force: true });
  server.listen(order.socket, () => chmodSync(order.socket, 0o600));
  terminal.onData((data) => {
    record(data);
    replay = Buffer.concat([replay, data]).subarray(-replayBytes);
    for (const socket of clients) {
      if (socket.writableLength > slowestBytes) socket.destroy();
      else socket.write(frame("o", data));
    }
  });
  terminal.onExit(({ exitCode, signal }) => {
    for (const socket of clients) socket.end(frame("x", JSON.stringify({ exitCode, signal: signal || undefined })));
    server.close();
    rmSync(order.socket, { force: true });
    endAs(exitCode, signal, clients);
  });
}

function takeFrom(terminal: Terminal, socket: Socket): (chunk: Buffer) => void {
  const read = frameReader((kind, content) => {
    if (kind === "i") terminal.write(content);
    if (kind !== "r") return;
    const { columns, rows } = JSON.parse(content.toString("utf8")) as { columns: number; rows: number };
    const fits = (size: number): boolean => Number.isInteger(size) && size > 0 && size < 10_000;
    if (fits(columns) && fits(rows)) terminal.resize(columns, rows);
  });
  return (chunk) => {
    try {
      read(chunk);
    } catch {
      socket.destroy(); // it does not speak our language
    }
  };
}

/** A full disk loses output, never the command. */
function record(data: Buffer): void {
  try {
    for (let at = 0; at < data.length;) at += writeSync(1, data, at);
  } catch {
    // nowhere to put it
  }
}

/** The recorder is to see the command's end as its own child's. */
function endAs(exitCode: number, signal: number | undefined, clients: ReadonlySet<Socket>): void {
  const end = (): void => {
    if (!signal) process.exit(exitCode);
    const name = signalNames.find((each) => constants.signals[each] === signal);
    // Of a signal without a name, as of one that does not end us, we end by ourselves: with 0 in no case.
    if (!name) process.exit(128 + signal);
    restoreDefault(name);
    process.kill(process.pid, name);
    setTimeout(() => process.exit(128 + signal), 1_000);
  };
  // The last words reach those who listen, but nobody may hold the end up.
  const deadline = setTimeout(end, 500);
  const look = (): void => {
    if (clients.size > 0) return;
    clearTimeout(deadline);
    end();
  };
  for (const socket of clients) socket.once("close", look);
  look();
}

/** Node ignores SIGPIPE and opens a debugger at SIGUSR1: only a listener that comes and goes gives a signal its own meaning back. */
function restoreDefault(name: NodeJS.Signals): void {
  if (name === "SIGKILL") return; // cannot be listened to, and needs nothing
  process.on(name, () => {});
  process.removeAllListeners(name);
}

await main(process.argv[2] ?? ".");
