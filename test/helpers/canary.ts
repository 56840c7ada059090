/** Secrets that are recognised wherever they turn up, and the search for them. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { formsOf } from "../../src/common/redact.ts";
import { descendantsOf, listProcesses } from "./processes.ts";

/** A development hub keeps the credentials that it finds in its data directory: here they are marked ones (0600). */
export async function writeHubCredentials(dataDirectory: string, canaries: Canaries): Promise<void> {
  const credentials = {
    admin: { username: "admin", password: canaries.make("the administrator's password") },
    site: { id: "local", client_id: "sys0test", client_secret: canaries.make("the client secret") },
  };
  await writeFile(join(dataDirectory, "dev-credentials.json"), JSON.stringify(credentials), { mode: 0o600 });
}

interface Needle {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Signed access tokens and API tokens are secrets too; nobody has to mark them. */
const tokens = /eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}|\bsat_[\w-]{20,}/;

/** The marked secrets of one test. */
export class Canaries {
  readonly #needles: Needle[] = [];

  /** A new secret, with the characters that JSON, URLs and shells write otherwise around a core that stays as it is. */
  make(name: string): string {
    const core = `canary${randomBytes(9).toString("hex")}`;
    this.#mark(name, core);
    return `"${core}' \\$%&+=é`;
  }

  /** A secret that something else made. */
  add(name: string, secret: string): void {
    this.#mark(name, secret);
  }

  /** Names of the secrets that `data` holds: as they are, or as JSON, URLs, base64 (inside longer texts too) and hexadecimal write them. */
  findIn(data: Uint8Array | string): readonly string[] {
    const bytes = typeof data === "string" ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.length);
    const found = this.#needles.filter((needle) => bytes.includes(needle.bytes)).map(({ name }) => name);
    if ((bytes.includes("eyJ") || bytes.includes("sat_")) && tokens.test(bytes.toString("latin1")))
      found.push("a token of the hub");
    return [...new Set(found)];
  }

  #mark(name: string, secret: string): void {
    for (const form of formsOf(secret)) this.#needles.push({ name, bytes: Buffer.from(form) });
  }
}

/** Searches every file, link and name below `root`, but those whose path below it fits one of `allowed`. Gives what was found, in words. */
export async function leaksInFiles(root: string, canaries: Canaries, allowed: readonly RegExp[]): Promise<string[]> {
  const leaks: string[] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const place = relative(root, path);
    if (allowed.some((pattern) => pattern.test(place))) continue;
    leaks.push(...told(canaries, entry.name, `the name of '${place}'`));
    if (entry.isFile()) leaks.push(...told(canaries, await readFile(path).catch(() => ""), `the file '${place}'`));
    if (entry.isSymbolicLink())
      leaks.push(...told(canaries, await readlink(path).catch(() => ""), `the link '${place}'`));
  }
  return leaks;
}

/**
 * Searches the command lines of all processes, and the environments of those that descend from this one or have to do with the
 * directory `root`: they work there or name it.
 */
export function leaksInProcesses(canaries: Canaries, root?: string): string[] {
  const all = listProcesses().filter(({ pid }) => pid !== process.pid);
  const children = new Set(descendantsOf(process.pid, all).map(({ pid }) => pid));
  return all.flatMap((entry) => {
    const { pid, command, cwd } = entry;
    const ours =
      children.has(pid) || (root !== undefined && (cwd?.startsWith(root) === true || command.includes(root)));
    return (ours ? ["cmdline", "environ"] : ["cmdline"]).flatMap((name) =>
      told(canaries, procFile(pid, name), `${name} of process ${pid} (${command.slice(0, 60)})`),
    );
  });
}

/** Searches a text; `where` is how it is called when something is found. */
export function leaksInText(text: string, canaries: Canaries, where: string): string[] {
  return told(canaries, text, where);
}

function told(canaries: Canaries, data: Uint8Array | string, where: string): string[] {
  return canaries.findIn(data).map((name) => `${name} is in ${where}`);
}

function procFile(pid: number, name: string): Buffer {
  try {
    return readFileSync(`/proc/${pid}/${name}`);
  } catch {
    return Buffer.alloc(0); // it ended, or is not ours to look into
  }
}
