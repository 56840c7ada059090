/** What the node agent (src/runner/node.pl) reads in its inbox, and the lines that it writes: pure. */
import { isToken, type Token } from "../../common/token.ts";
import type { Share } from "../../jobs/resources.ts";

/** One attempt for one node. */
export interface RunOrder {
  readonly token: Token;
  /** Absolute; the attempt's directory. */
  readonly directory: string;
  /** As recorder.pl reads it. */
  readonly plan: string;
  readonly share: Share;
  /** Ids that are its own on this node. */
  readonly gpus: readonly string[];
  /** How long it may take, with its grace; undefined = no limit of its own. */
  readonly needMs: number | undefined;
  readonly graceMs: number;
}

export type PlacedOrder = Pick<RunOrder, "token" | "directory" | "share" | "gpus" | "needMs">;

export function writeOrders(runs: readonly RunOrder[], stops: readonly Token[] = []): Buffer {
  const parts = runs.map((run) => {
    const [directory, plan] = [Buffer.from(run.directory), Buffer.from(run.plan)];
    const head = [
      "run",
      run.token,
      run.share.cores,
      run.share.memoryBytes,
      run.gpus.join(",") || "-",
      run.needMs === undefined ? 0 : Math.max(1, Math.ceil(run.needMs / 1000)),
      Math.ceil(run.graceMs),
      directory.byteLength,
      plan.byteLength,
    ].join(" ");
    return Buffer.concat([Buffer.from(`${head}\n`), directory, plan]);
  });
  return Buffer.concat([...parts, ...stops.map((token) => Buffer.from(`stop ${token}\n`))]);
}

const runLine = /^run ([a-z0-9]{15}) (\d+) (\d+) (\S+) (\d+) \d+ (\d+) (\d+)$/;

/** Which attempts a file of orders hands over; undefined when it is damaged. */
export function readOrders(bytes: Buffer): readonly PlacedOrder[] | undefined {
  const orders: PlacedOrder[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const end = bytes.indexOf("\n", at);
    const line = end < 0 ? "" : bytes.toString("utf8", at, end);
    at = end + 1;
    if (/^stop [a-z0-9]{15}$/.test(line)) continue;
    const [, token = "", cores, memory, gpus = "-", need, length, size] = runLine.exec(line) ?? [];
    if (!isToken(token)) return undefined;
    const [planAt, next] = [at + Number(length), at + Number(length) + Number(size)];
    if (next > bytes.byteLength) return undefined;
    orders.push({
      token,
      directory: bytes.toString("utf8", at, planAt),
      share: { cores: Number(cores), memoryBytes: Number(memory), gpus: gpus === "-" ? 0 : gpus.split(",").length },
      gpus: gpus === "-" ? [] : gpus.split(","),
      needMs: Number(need) === 0 ? undefined : Number(need) * 1000,
    });
    at = next;
  }
  return orders;
}

export type NodeEvent =
  | { readonly kind: "beat"; readonly atMs: number; readonly leftMs: number; readonly host: string }
  | { readonly kind: "calm"; readonly atMs: number }
  | { readonly kind: "ending"; readonly atMs: number; readonly why: string }
  | { readonly kind: "over" }
  | { readonly kind: "started"; readonly token: Token; readonly atMs: number }
  | { readonly kind: "ended" | "gone"; readonly token: Token }
  | { readonly kind: "back" | "failed"; readonly token: Token; readonly why: string };

/** One line of a node's events; undefined for what this version does not know. */
export function parseEvent(line: string): NodeEvent | undefined {
  const [kind = "", first = "", ...rest] = line.split(" ");
  const atMs = Number(first);
  switch (kind) {
    case "beat":
      return { kind, atMs, leftMs: Number(rest[0]) * 1000, host: rest[1] ?? "" };
    case "calm":
      return { kind, atMs };
    case "ending":
      return { kind, atMs, why: rest.join(" ") };
    case "over":
      return { kind };
    case "started":
      return isToken(first) ? { kind, token: first, atMs: Number(rest[0]) } : undefined;
    case "ended":
    case "gone":
      return isToken(first) ? { kind, token: first } : undefined;
    case "back":
    case "failed":
      return isToken(first) ? { kind, token: first, why: rest.join(" ") } : undefined;
    default:
      return undefined;
  }
}
