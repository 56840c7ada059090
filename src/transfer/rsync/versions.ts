/** Which rsyncs there are, here and at remotes. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { CallContext } from "../../common/context.ts";
import { errnoOf, Fault, isFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import type { SftpAccess } from "../sftp/types.ts";
import { notHere, notThere } from "./faults.ts";
import { remotePath } from "./program.ts";

const run = promisify(execFile);
const versionMs = 30_000;

export interface RsyncVersion {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

/** What `rsync --version` says, or why that one cannot be used. */
export function readVersion(output: string): RsyncVersion | string {
  const [first = ""] = output.trim().split("\n");
  // The one of macOS and the BSDs: it knows neither protected arguments nor lists of files.
  if (first.startsWith("openrsync")) return `it is ${quoted(first, 100)}`;
  const match = /^rsync\s+version\s+v?(\d+)\.(\d+)(\S*)/.exec(first);
  if (!match) return `it does not say its version but ${quoted(first, 100)}`;
  const [, major = "", minor = "", rest = ""] = match;
  const version = { major: Number(major), minor: Number(minor), text: `${major}.${minor}${rest}` };
  return isAtLeast(version, 3, 1) ? version : `it has version ${version.text}, 3.1 is needed`;
}

function isAtLeast(version: RsyncVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** Remembers those that can be used; others are asked again each time. */
export class RsyncVersions {
  #here: RsyncVersion | undefined;
  readonly #there = new WeakMap<SftpAccess, RsyncVersion>();

  /** @throws Fault UNSUPPORTED. */
  async here(): Promise<RsyncVersion> {
    this.#here ??= await versionHere();
    return this.#here;
  }

  /** @throws Fault UNSUPPORTED, and as `access.run`. */
  async there(access: SftpAccess, context: CallContext): Promise<RsyncVersion> {
    const known = this.#there.get(access);
    if (known) return known;
    const version = await versionThere(access, context);
    this.#there.set(access, version);
    return version;
  }
}

async function versionHere(): Promise<RsyncVersion> {
  let output: string;
  try {
    ({ stdout: output } = await run("rsync", ["--version"], {
      timeout: versionMs,
      env: { ...process.env, LC_ALL: "C" },
    }));
  } catch (error) {
    throw notHere(errnoOf(error) === "ENOENT" ? "it is not installed" : "it does not run");
  }
  const version = readVersion(output);
  if (typeof version === "string") throw notHere(version);
  return version;
}

async function versionThere(access: SftpAccess, context: CallContext): Promise<RsyncVersion> {
  const { label, settings } = access;
  if (!settings.shell) throw notThere(label, "the site file says that no commands run there");
  const command = { argv: ["rsync", "--version"], cwd: "/", environment: { PATH: remotePath } } as const;
  try {
    const { exitCode, stdout } = await access.run({ ...command, timeoutMs: versionMs, maxOutputBytes: 4_096 }, context);
    const version = exitCode === 0 ? readVersion(stdout) : "it does not run";
    if (typeof version === "string") throw notThere(label, version);
    return version;
  } catch (error) {
    if (isFault(error, "LAUNCH")) throw notThere(label, "it is not installed");
    if (isFault(error, "UNREACHABLE") && error.details?.["why"] === "session") {
      throw new Fault("UNSUPPORTED", `rsync at '${label}' cannot be used: ${error.message}`, {
        hint: "the account needs a shell that runs commands, or have the remote moved by SFTP",
        cause: error,
      });
    }
    throw error;
  }
}
