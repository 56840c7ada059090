import { Fault, type FaultOptions } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { shellQuoted } from "../../common/shell.ts";
import { fingerprint, type HostKeyVerdict, keyType, type KnownKey } from "./known-hosts.ts";
import type { Hop } from "./route.ts";

/** Why a host could not be asked: `details.why` of the fault. */
export type UnreachableWhy =
  /** No connection, or it was lost. */
  | "network"
  /** The server is not known to be the right one. */
  | "host-key"
  /** The server refuses the login. */
  | "login"
  /** Three logins were refused: nothing is tried any more. */
  | "stopped"
  /** Keys, files or settings of this side cannot be used. */
  | "configuration"
  /** Logged in, but the server or the account gives no session, or it ended without an answer. */
  | "session";

/**
 * A host that could not be asked. `started`: whether something of the call may have happened there; "no" is certain, otherwise nobody
 * knows (the connection was lost in between).
 */
export function unreachable(
  why: UnreachableWhy,
  message: string,
  options: Omit<FaultOptions, "details"> & { readonly started?: "no" | "unknown"; readonly retryAfterMs?: number } = {},
): Fault {
  const { started = "no", retryAfterMs, ...rest } = options;
  const details = { why, started, ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }) };
  return new Fault("UNREACHABLE", message, { ...rest, details });
}

export function whyOf(fault: Fault): UnreachableWhy | undefined {
  return fault.details?.["why"] as UnreachableWhy | undefined;
}

/** A server whose key may not be trusted, with what a person needs to decide. */
export function hostKeyFault(
  verdict: Exclude<HostKeyVerdict, { state: "known" }>,
  hop: Hop,
  name: string,
  key: Buffer,
): Fault {
  const type = keyType(key) ?? "unknown";
  const shown = `${type} ${fingerprint(key)}`;
  const [file = "known_hosts"] = hop.knownHosts;
  const add = `echo '${name} ${type} ${key.toString("base64")}' >> ${shellQuoted(file)}`;
  switch (verdict.state) {
    case "revoked":
      return unreachable("host-key", `'${name}' shows a key that is revoked (${place(verdict.by)}): ${shown}`, {
        hint: "this key is known to be in wrong hands: ask the centre for the new one",
      });
    case "changed": {
      const old = verdict.known;
      return unreachable(
        "host-key",
        `the key of '${name}' has CHANGED: it shows ${shown}, known is ${fingerprint(old.key)} (${place(old)})`,
        {
          hint: `somebody may be listening in between, or the server was set up anew: ask the centre, and only if it confirms the new fingerprint: ssh-keygen -R ${shellQuoted(name)} -f ${shellQuoted(old.file)} && ${add}`,
        },
      );
    }
    case "unknown": {
      const { authority, flaw, others } = verdict;
      const why = authority
        ? `; ${flaw ?? "it shows no certificate that can be checked"}, known is the authority of ${place(authority)}`
        : others[0]
          ? `; known are keys of other types (${place(others[0])})`
          : "";
      return unreachable("host-key", `the key of '${name}' is not known: it shows ${shown}${why}`, {
        hint: `compare the fingerprint with the one that the centre publishes, and only if it is the same: ${add}`,
      });
    }
  }
}

function place({ file, line }: KnownKey): string {
  return `'${file}:${line}'`;
}

export interface RefusedLogin {
  /** What was offered, in words. */
  readonly tried: readonly string[];
  /** Methods that the server still would take. */
  readonly methods: readonly string[];
  /** Why certificates were not offered. */
  readonly notes: readonly string[];
}

/** A login that the server refuses. */
export function loginFault(hop: Hop, { tried, methods, notes }: RefusedLogin): Fault {
  const offers = methods.length === 0 ? "" : `; the server takes: ${quoted(methods.join(", "))}`;
  if (!methods.includes("publickey")) {
    return unreachable("login", `'${hop.label}' wants an answer that only a person can give${offers}`, {
      hint: "ask the centre how a service may log in: with a key alone, or from named addresses",
    });
  }
  const words = [`'${hop.label}' refuses the login with ${tried.join(", ")}${offers}`, ...notes].join("; ");
  return unreachable("login", words, {
    hint:
      notes.length > 0
        ? "get a new certificate as the centre describes it, or have the key itself in authorized_keys there"
        : `does 'ssh ${hop.label.replace(/:\d+$/, ` -p ${hop.port}`)} true' work for this account? the key has to be in authorized_keys there`,
  });
}

/** What an SSH or socket error says, without what belongs to the library. */
export function wordsOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message === "" && error instanceof AggregateError ? error.errors.map(wordsOf).join(", ") : message;
}
