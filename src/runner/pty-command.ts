import { writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import type { StartRequest } from "./protocol.ts";

/** Longest path that a Unix socket can have, with the NUL at its end. */
export const longestSocketPath = 107;

/** What the holder of a terminal is told, in `pty.json`. */
export interface PtyOrder {
  readonly argv: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  readonly workDirectory: string;
  /** Soft limit of open files. */
  readonly openFiles: number;
  /** Where people attach. */
  readonly socket: string;
}

/** The command that the recorder runs for an attempt with a terminal: the holder, which runs the real one on the terminal. */
export function ptyCommand(
  request: StartRequest,
  where: { readonly socketDirectory: string; readonly openFiles: number },
): { argv: [string, ...string[]]; environment: Record<string, string> } {
  const near = join(request.directory, "tty");
  const socket = near.length <= longestSocketPath ? near : join(where.socketDirectory, `tty-${request.token}`);
  const order: PtyOrder = {
    argv: request.argv,
    environment: request.environment,
    workDirectory: request.workDirectory,
    openFiles: where.openFiles,
    socket,
  };
  writeFileSync(join(request.directory, "pty.json"), JSON.stringify(order), { mode: 0o600 });
  const holder = join(import.meta.dirname, `pty-holder${extname(import.meta.filename)}`);
  const cookie = request.environment["SITEAGENT_ATTEMPT_TOKEN"] ?? request.token;
  return {
    argv: [process.execPath, holder, request.directory],
    environment: { PATH: "/usr/local/bin:/usr/bin:/bin", SITEAGENT_ATTEMPT_TOKEN: cookie },
  };
}
