/**
 * What was handed to Globus, on disk before it is: after any death the same submission is made again under the same id, which
 * Globus carries out once.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { errnoOf, Fault } from "../../common/fault.ts";
import { durableReplace } from "../../common/files.ts";

const itemSchema = z.object({ source_path: z.string(), destination_path: z.string() });

const noteSchema = z.object({
  version: z.literal(1),
  token: z.string(),
  /** Tells the item and direction apart: only calls for the same one take it up. */
  scope: z.string(),
  /** Of the job that needs it no more: the task is to be ended. */
  abandoned: z.boolean(),
  /** Once Globus has named it. */
  task: z.string().optional(),
  submission: z.string(),
  /** The body of the submission, byte by byte. */
  body: z.string(),
  /** As in the body, with what each file was known by. */
  files: z.array(itemSchema.extend({ stamp: z.string() })),
});
export type Note = z.output<typeof noteSchema>;
export type NotedFile = Note["files"][number];

export function scopeOf(...parts: readonly string[]): string {
  return createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 16);
}

export class Notes {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Durable when it returns. */
  async put(note: Note): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await durableReplace(this.#path(note), JSON.stringify(note));
  }

  async drop(note: Note): Promise<void> {
    await rm(this.#path(note), { force: true });
  }

  /** Those of a job, or all. A note that cannot be read is left where it is and says so. */
  async all(token?: string): Promise<readonly Note[]> {
    const notes: Note[] = [];
    for (const name of await this.#names()) {
      if (!name.endsWith(".json") || (token !== undefined && !name.startsWith(`${token}-`))) continue;
      const note = await this.#read(name);
      if (note) notes.push(note);
    }
    return notes;
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw error;
    }
  }

  async #read(name: string): Promise<Note | undefined> {
    const path = join(this.#directory, name);
    try {
      return noteSchema.parse(JSON.parse(await readFile(path, "utf8")));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw new Fault("TRANSFER", `the note '${path}' of a Globus transfer cannot be read`, {
        hint: "look for its task at app.globus.org, then remove the file",
        cause: error,
      });
    }
  }

  #path({ token, submission }: Note): string {
    return join(this.#directory, `${token}-${submission.replace(/[^A-Za-z0-9-]/g, "_")}.json`);
  }
}
