/**
 * What launcher and runner say to each other: one JSON object a line over a Unix socket that only its owner can open. The client begins
 * with `hello` and the versions it speaks; the runner takes the highest that both know. Version 2 launches and stops in groups; version 1
 * one attempt a message. Each side speaks its own version and the one before.
 */
import { z } from "zod";
import { warningSignals } from "../jobs/rules.ts";

export const protocolVersions: readonly number[] = [1, 2];

const path = z.string().startsWith("/").max(4096);
const token = z.string().regex(/^[a-z][a-z0-9]{14}$/);

export const startRequestSchema = z.object({
  token,
  directory: path,
  workDirectory: path,
  argv: z.tuple([z.string().min(1)], z.string()),
  environment: z.record(z.string().regex(/^[^=\0]+$/), z.string()),
  runtime: z.enum(["plain", "pty"]),
  umask: z.int().min(0).max(0o777),
  limitMs: z.number().positive().optional(),
  graceMs: z.number().min(0),
  warning: z
    .object({ signal: z.enum(warningSignals), beforeMs: z.number().min(0), to: z.enum(["all", "command"]) })
    .optional(),
  maxOutputBytes: z.number().min(0),
});
/** One attempt to start. */
export type StartRequest = z.output<typeof startRequestSchema>;

export const identitySchema = z.object({
  pid: z.int().min(2),
  startTicks: z.number().min(0),
  bootId: z.string(),
  pidNamespace: z.string(),
  machineId: z.string(),
  atMs: z.number(),
});

export const startAnswerSchema = z.discriminatedUnion("state", [
  z.object({ state: z.literal("started"), recorder: identitySchema.optional(), job: identitySchema.optional() }),
  /** It was started before, by whomever; its evidence says how it goes. */
  z.object({ state: z.literal("existing") }),
  z.object({ state: z.literal("refused"), exitCode: z.int().optional(), message: z.string() }),
  /** Nothing ran for a reason that is not the command's. */
  z.object({ state: z.literal("failed"), message: z.string() }),
  z.object({ state: z.literal("busy"), message: z.string() }),
  z.object({ state: z.literal("unknown"), message: z.string() }),
]);
export type StartAnswer = z.output<typeof startAnswerSchema>;

export const attemptNameSchema = z.object({
  token,
  directory: path,
  recorder: identitySchema.optional(),
  job: identitySchema.optional(),
});

export const stopAnswerSchema = z.discriminatedUnion("state", [
  z.object({ state: z.literal("stopping") }),
  z.object({ state: z.literal("gone"), tier: z.enum(["cgroup", "subreaper", "group", "never-started"]) }),
  z.object({ state: z.literal("remaining"), pids: z.array(z.int()), why: z.string().optional() }),
  z.object({ state: z.literal("unknown"), why: z.string() }),
]);
export type StopAnswer = z.output<typeof stopAnswerSchema>;

const stopHow = { graceMs: z.number().min(0), reason: z.string().max(1000) };

/** What a runner understands, by version. */
export const requestSchemas = {
  1: z.discriminatedUnion("verb", [
    z.object({ id: z.int(), verb: z.literal("launch"), attempt: startRequestSchema }),
    z.object({ id: z.int(), verb: z.literal("stop"), attempt: attemptNameSchema, ...stopHow }),
    z.object({ id: z.int(), verb: z.literal("live") }),
  ]),
  2: z.discriminatedUnion("verb", [
    z.object({ id: z.int(), verb: z.literal("launch"), attempts: z.array(startRequestSchema).max(10_000) }),
    z.object({ id: z.int(), verb: z.literal("stop"), attempts: z.array(attemptNameSchema).max(10_000), ...stopHow }),
    z.object({ id: z.int(), verb: z.literal("live") }),
  ]),
} as const;

export const helloSchema = z.object({ id: z.int(), verb: z.literal("hello"), versions: z.array(z.int()).min(1) });

export const welcomeSchema = z.object({
  version: z.int(),
  pid: z.int(),
  tier: z.enum(["cgroup", "subreaper", "group"]),
  /** Tokens of attempts that this runner started and will report the end of. */
  live: z.array(z.string()),
});
export type Welcome = z.output<typeof welcomeSchema>;

/** What a runner says. */
export type Answer =
  /** The result has the schema of the call's verb. */
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { readonly code: string; readonly message: string } }
  | { readonly event: "changed"; readonly token: string };

/** Reads a line of a runner; by hand, because several come for each attempt. @throws Error when it is none. */
export function readAnswer(line: string): Answer {
  const message = JSON.parse(line) as Partial<Record<"id" | "result" | "error" | "event" | "token", unknown>> | null;
  const { id, error, event, token } = message ?? {};
  if (event === "changed" && typeof token === "string") return { event, token };
  if (typeof id === "number" && message) {
    if ("result" in message) return { id, result: message.result };
    const { code, message: text } = (error ?? {}) as Partial<Record<"code" | "message", unknown>>;
    if (typeof code === "string" && typeof text === "string") return { id, error: { code, message: text } };
  }
  throw new Error("the runner said something that is no answer");
}

/** A line may hold a group of plans; anything longer is no message of ours. */
export const longestLineBytes = 64 * 1024 * 1024;

/** Splits a stream into lines; throws when one is too long. */
export function lineReader(onLine: (line: string) => void): (chunk: string) => void {
  let parts: string[] = [];
  let length = 0;
  return (chunk) => {
    const lines = chunk.split("\n");
    const rest = lines.pop() ?? "";
    for (const line of lines) {
      onLine(parts.join("") + line);
      parts = [];
      length = 0;
    }
    parts.push(rest);
    length += rest.length;
    if (length > longestLineBytes) throw new Error(`a line of more than ${longestLineBytes} bytes`);
  };
}
