/** What the node agent (src/runner/node.pl) reads in its inbox, and the lines that it writes: pure. */
import { isToken, type Token } from "../../common/token.ts";
import type { Share } from "../../jobs/resources.ts";
import { type ExitRecord, parseExitRecord } from "../../runner/evidence.ts";

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
  /** What it starts may run outside of its recorder's tree, by a starter's daemons: it is over when nothing here bears its token. */
  readonly spread: boolean;
}

/** Room on a further node of an attempt that another one starts. */
export type HoldOrder = Pick<RunOrder, "token" | "share" | "gpus">;

export interface Orders {
  readonly runs?: readonly RunOrder[];
  readonly holds?: readonly HoldOrder[];
  readonly stops?: readonly Token[];
  /** Room that is held no longer: what is left of the attempt there is ended, and `clear` said when nothing is. */
  readonly frees?: readonly Token[];
}

/** What was handed over by an order, as far as it can be read again. */
export type PlacedOrder =
  | ({ readonly kind: "run" } & Pick<RunOrder, "token" | "directory" | "share" | "gpus" | "needMs">)
  | ({ readonly kind: "hold" } & HoldOrder);

export function writeOrders({ runs = [], holds = [], stops = [], frees = [] }: Orders): Buffer {
  const parts = runs.map((run) => {
    const [directory, plan] = [Buffer.from(run.directory), Buffer.from(run.plan)];
    const head = [
      run.spread ? "lead" : "run",
      run.token,
      ...sizes(run),
      run.needMs === undefined ? 0 : Math.max(1, Math.ceil(run.needMs / 1000)),
      Math.ceil(run.graceMs),
      directory.byteLength,
      plan.byteLength,
    ].join(" ");
    return Buffer.concat([Buffer.from(`${head}\n`), directory, plan]);
  });
  const lines = [
    ...holds.map((hold) => ["hold", hold.token, ...sizes(hold)].join(" ")),
    ...stops.map((token) => `stop ${token}`),
    ...frees.map((token) => `free ${token}`),
  ];
  return Buffer.concat([...parts, ...lines.map((line) => Buffer.from(`${line}\n`))]);
}

function sizes({ share, gpus }: HoldOrder): readonly (string | number)[] {
  return [share.cores, share.memoryBytes, gpus.join(",") || "-"];
}

const runLine = /^(?:run|lead) ([a-z0-9]{15}) (\d+) (\d+) (\S+) (\d+) \d+ (\d+) (\d+)$/;
const holdLine = /^hold ([a-z0-9]{15}) (\d+) (\d+) (\S+)$/;

/** Which attempts a file of orders hands over, and for which it holds room; undefined when it is damaged. */
export function readOrders(bytes: Buffer): readonly PlacedOrder[] | undefined {
  const orders: PlacedOrder[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const end = bytes.indexOf("\n", at);
    const line = end < 0 ? "" : bytes.toString("utf8", at, end);
    at = end + 1;
    if (/^(?:stop|free) [a-z0-9]{15}$/.test(line)) continue;
    const held = holdLine.exec(line);
    const [, token = "", cores, memory, gpus = "-", need, length, size] = held ?? runLine.exec(line) ?? [];
    if (!isToken(token)) return undefined;
    const ids = gpus === "-" ? [] : gpus.split(",");
    const share = { cores: Number(cores), memoryBytes: Number(memory), gpus: ids.length };
    if (held) {
      orders.push({ kind: "hold", token, share, gpus: ids });
      continue;
    }
    const [planAt, next] = [at + Number(length), at + Number(length) + Number(size)];
    if (next > bytes.byteLength) return undefined;
    const needMs = Number(need) === 0 ? undefined : Number(need) * 1000;
    orders.push({ kind: "run", token, directory: bytes.toString("utf8", at, planAt), share, gpus: ids, needMs });
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
  | { readonly kind: "ended"; readonly token: Token; readonly record?: HeardRecord }
  | { readonly kind: "gone"; readonly token: Token }
  | { readonly kind: "clear"; readonly token: Token }
  | { readonly kind: "back" | "failed"; readonly token: Token; readonly why: string };

/** The exit record as the node agent read it, where nothing else in the attempt's directory says more. */
export interface HeardRecord {
  readonly startedAtMs: number;
  readonly rc: ExitRecord;
}

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
      return isToken(first) ? { kind, token: first, ...heard(rest) } : undefined;
    case "gone":
    case "clear":
      return isToken(first) ? { kind, token: first } : undefined;
    case "back":
    case "failed":
      return isToken(first) ? { kind, token: first, why: rest.join(" ") } : undefined;
    default:
      return undefined;
  }
}

/** `STARTED`, and the second line of the record without its version. */
function heard([startedAt, ...words]: readonly string[]): { readonly record?: HeardRecord } {
  const rc = parseExitRecord(`0\n1 ${words.join(" ")}`);
  return rc && /^\d+$/.test(startedAt ?? "") ? { record: { startedAtMs: Number(startedAt), rc } } : {};
}
