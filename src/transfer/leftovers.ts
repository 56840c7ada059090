/**
 * What jobs may have left unfinished at destinations, noted before it begins: whoever ends the job knows what is to be removed there,
 * also after a restart.
 */
import { appendFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { errnoOf } from "../common/fault.ts";
import { isToken, type Token } from "../common/token.ts";
import type { Leftover } from "./types.ts";

/** Of one job; what lies in further directories is nobody's. */
const mostPlaces = 1_000;

const lineSchema = z.union([
  z.object({ url: z.string(), id: z.string().optional() }),
  /** The job is over since then, milliseconds since 1970. */
  z.object({ over: z.number() }),
]);

interface Notes {
  /** By the place that they name. */
  readonly places: Map<string, Leftover>;
  over: number | undefined;
}

/** One for all engines of a process. Notes survive the death of the process; after that of the machine the last ones may be missing. */
export class Leftovers {
  readonly #directory: string | undefined;
  #jobs: Promise<Map<Token, Notes>> | undefined;

  /** Without a directory: in memory alone. */
  constructor(directory?: string) {
    this.#directory = directory;
  }

  /** Something of the job was noted and may lie there. */
  async has(token: Token): Promise<boolean> {
    return (await this.#all()).has(token);
  }

  /** Noted when it returns. Files of one directory are one place. */
  async note(token: Token, leftover: Leftover): Promise<void> {
    const jobs = await this.#all();
    const notes = jobs.get(token) ?? { places: new Map(), over: undefined };
    jobs.set(token, notes);
    const place = placeOf(leftover);
    if (notes.places.has(place) || notes.places.size >= mostPlaces) return;
    notes.places.set(place, leftover);
    await this.#append(token, leftover);
  }

  /** The job needs it no more. */
  async giveUp(token: Token, now: number): Promise<void> {
    const notes = (await this.#all()).get(token);
    if (!notes || notes.over !== undefined) return;
    notes.over = now;
    await this.#append(token, { over: now });
  }

  /** Nothing of the job lies anywhere. */
  async drop(token: Token): Promise<void> {
    if (!(await this.#all()).delete(token) || this.#directory === undefined) return;
    await rm(join(this.#directory, token), { force: true });
  }

  /** Of jobs that are over. */
  async givenUp(): Promise<
    readonly { readonly token: Token; readonly over: number; readonly left: readonly Leftover[] }[]
  > {
    return [...(await this.#all())].flatMap(([token, { places, over }]) =>
      over === undefined ? [] : [{ token, over, left: [...places.values()] }],
    );
  }

  async #append(token: Token, line: z.output<typeof lineSchema>): Promise<void> {
    if (this.#directory === undefined) return;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await appendFile(join(this.#directory, token), `${JSON.stringify(line)}\n`, { mode: 0o600 });
  }

  #all(): Promise<Map<Token, Notes>> {
    this.#jobs ??= this.#read();
    return this.#jobs;
  }

  async #read(): Promise<Map<Token, Notes>> {
    const jobs = new Map<Token, Notes>();
    if (this.#directory === undefined) return jobs;
    for (const name of await namesIn(this.#directory)) {
      if (!isToken(name)) continue;
      const notes: Notes = { places: new Map(), over: undefined };
      for (const line of (await readFile(join(this.#directory, name), "utf8")).split("\n")) read(line, notes);
      jobs.set(name, notes);
    }
    return jobs;
  }
}

/** A torn last line says nothing. */
function read(line: string, notes: Notes): void {
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    return;
  }
  const { data } = lineSchema.safeParse(content);
  if (data === undefined) return;
  if ("over" in data) notes.over = data.over;
  else notes.places.set(placeOf(data), data);
}

function placeOf({ url, id }: Leftover): string {
  return id === undefined ? url.replace(/[^/]*$/, "") : `${url} ${id}`;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
