/** What the batch launcher keeps on the target's host: the recorder, and in each attempt's directory its plan and what was submitted. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { isToken, type Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import { type Evidence, evidenceFrom, maxEvidenceBytes } from "../../runner/evidence.ts";

const programs = join(import.meta.dirname, "..", "..", "runner");

type Program = "recorder.sh" | "recorder.pl" | "node.pl";

/** Where a program of the runner's lies below a host's workdir, by its content: an upgrade touches no queued job. */
export async function programOn(
  workdir: string,
  name: Program,
): Promise<{ readonly path: string; readonly content: Buffer }> {
  const content = await readFile(join(programs, name));
  const digest = createHash("sha256").update(content).digest("hex").slice(0, 16);
  return { path: join(workdir, ".siteagent", "recorder", digest, name), content };
}

/** Copies it to the host, once; never changed once written. Returns its path there. */
export async function placeProgram(host: Host, name: Program, context: CallContext): Promise<string> {
  const { path, content } = await programOn(host.workdir, name);
  const there = await host.files.stat(path, context);
  if (there?.type !== "file" || there.bytes !== content.byteLength) {
    await host.files.mkdir(dirname(path), {}, context);
    await host.files.write(path, content, { mode: 0o500 }, context);
  }
  return path;
}

const submissionSchema = z.object({
  v: z.literal(1),
  /** Of the scheduler job; an array's own, else the attempt's. */
  token: z.string().refine((text): text is Token => isToken(text)),
  task: z.int().nonnegative().optional(),
  at: z.iso.datetime(),
});

/** Written before the submission: that there may be a scheduler job, and under which token it is found. */
export type Submission = z.output<typeof submissionSchema>;

export const submissionFile = "submission";

export async function writeSubmission(
  host: Host,
  directory: string,
  submission: Omit<Submission, "v">,
  context: CallContext,
): Promise<void> {
  const text = `${JSON.stringify({ v: 1, ...submission })}\n`;
  await host.files.write(join(directory, submissionFile), text, { mode: 0o600 }, context);
}

/** undefined = never submitted. @throws Fault RUNNER when it cannot be read for what it is: then nothing is known. */
export async function readSubmission(
  host: Host,
  directory: string,
  context: CallContext,
): Promise<Submission | undefined> {
  const bytes = await host.files.read(join(directory, submissionFile), { maxBytes: maxEvidenceBytes }, context);
  if (bytes === undefined) return undefined;
  try {
    return submissionSchema.parse(JSON.parse(bytes.toString("utf8")));
  } catch (error) {
    throw new Fault(
      "RUNNER",
      `'${join(directory, submissionFile)}' is damaged: whether the attempt was submitted is not known`,
      {
        cause: error,
        hint: `look for a job named as the attempt at the scheduler; remove the file when there is none`,
      },
    );
  }
}

/** An attempt's directory as the host shows it. */
export function evidenceOn(host: Host, directory: string, context: CallContext): Promise<Evidence> {
  return evidenceFrom({
    async names() {
      const names = await host.files.list(directory, context);
      return names && new Set(names);
    },
    async read(name) {
      const bytes = await host.files.read(join(directory, name), { maxBytes: maxEvidenceBytes + 1 }, context);
      return bytes === undefined || bytes.byteLength > maxEvidenceBytes ? undefined : bytes.toString("utf8");
    },
    async modifiedMs(name) {
      return (await host.files.stat(join(directory, name), context))?.mtimeMs;
    },
  });
}

/**
 * Takes the start guard, so that a job which is still to come starts nothing; false when the attempt has begun before. The marker goes first:
 * a guard with it and without a recorder is ours.
 */
export async function takeGuard(host: Host, directory: string, context: CallContext): Promise<boolean> {
  await markStopped(host, directory, context);
  return await host.files.mkdir(join(directory, "started"), {}, context);
}

const withdrawnFile = "withdrawn";

/**
 * Says why it is taken out of the queue, and takes the start guard; false when it has begun, or is being ended by order: then nothing is said. To be
 * done again until it is out of the queue: what an agent wrote before it was killed counts.
 */
export async function withdraw(host: Host, directory: string, why: string, context: CallContext): Promise<boolean> {
  const names = new Set(await host.files.list(directory, context));
  if (names.has(withdrawnFile)) return await isBarred(host, directory, context);
  if (names.has("stop") || names.has("started")) return false;
  await host.files.write(join(directory, withdrawnFile), `${why}\n`, { mode: 0o600 }, context);
  return await isBarred(host, directory, context);
}

/** It will not start, or it has and keeps no trace of the attempt to prevent it. */
async function isBarred(host: Host, directory: string, context: CallContext): Promise<boolean> {
  if (await takeGuard(host, directory, context)) return true;
  const { recorder } = await evidenceOn(host, directory, context);
  if (recorder === undefined) return true;
  for (const name of [withdrawnFile, "stop"]) await host.files.remove(join(directory, name), context);
  return false;
}

/** Why it was taken out of the queue; undefined = it was not. */
export async function whyWithdrawn(host: Host, directory: string, context: CallContext): Promise<string | undefined> {
  const bytes = await host.files.read(join(directory, withdrawnFile), { maxBytes: maxEvidenceBytes }, context);
  return bytes?.toString("utf8").trim() || undefined;
}

/** The recorder writes it into the exit record: what ended then was ended by order. */
export async function markStopped(host: Host, directory: string, context: CallContext): Promise<void> {
  const path = join(directory, "stop");
  if ((await host.files.stat(path, context)) !== undefined) return;
  await host.files.write(path, `${context.clock.now()}\n`, { mode: 0o600 }, context);
}

/** What the job script itself printed goes here, and what the site's lines in it do. */
export const logFile = "batch.log";
const mostTail = 300;

/** The end of what the job script printed, in one line; undefined when there is nothing. */
export async function logTail(host: Host, directory: string, context: CallContext): Promise<string | undefined> {
  const path = join(directory, logFile);
  const bytes = (await host.files.stat(path, context))?.bytes ?? 0;
  const offset = Math.max(0, bytes - mostTail);
  const tail = await host.files.read(path, { offset, maxBytes: mostTail }, context);
  const text = tail?.toString("utf8") ?? "";
  // Terminals and logs are spared control characters.
  return text.replace(/\p{Cc}+/gu, " ").trim() || undefined;
}
