/** The keys that requests are signed with: read when needed, kept for a while, read anew when they expire or are refused. */
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { readSecretFile, type SecretPlace } from "../../common/secret-file.ts";
import { parseProfile } from "./profile.ts";
import { containerKeys, instanceKeys } from "./roles.ts";
import type { KeySource } from "./types.ts";

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number | undefined;
}

/** A file that was replaced is noticed within this time. */
const keepMs = 30_000;
/** Keys that end so soon are renewed; the services that give them offer new ones some minutes before. */
const aheadMs = 5 * 60_000;

export class KeyRing {
  readonly #source: KeySource;
  readonly #env: NodeJS.ProcessEnv;
  #known: { readonly keys: Keys; readonly untilMs: number } | undefined;
  #reading: Promise<Keys> | undefined;

  constructor(source: KeySource, env: NodeJS.ProcessEnv) {
    this.#source = source;
    this.#env = env;
  }

  /** Undefined: requests are not signed. @throws Fault SECRET (files); TRANSFER (a service that does not answer). */
  async get(context: CallContext): Promise<Keys | undefined> {
    if (this.#source.kind === "anonymous") return undefined;
    if (this.#known && context.clock.now() < this.#known.untilMs) return this.#known.keys;
    // For all who wait: whoever asked first may be stopped.
    this.#reading ??= this.#read({ ...context, signal: new AbortController().signal }).finally(() => {
      this.#reading = undefined;
    });
    return await this.#reading;
  }

  /** These keys were refused: true when others lie in their place now. */
  async renew(refused: Keys, context: CallContext): Promise<boolean> {
    if (this.#known?.keys === refused) this.#known = undefined;
    const now = await this.get(context);
    const parts = ["accessKeyId", "secretAccessKey", "sessionToken"] as const;
    return parts.some((part) => now?.[part] !== refused[part]);
  }

  async #read(context: CallContext): Promise<Keys> {
    const keys = await this.#fresh(context);
    const now = context.clock.now();
    const { expiresAtMs } = keys;
    const untilMs = expiresAtMs === undefined ? now + keepMs : Math.max(expiresAtMs - aheadMs, now + 1_000);
    this.#known = { keys, untilMs };
    return keys;
  }

  async #fresh(context: CallContext): Promise<Keys> {
    const source = this.#source;
    switch (source.kind) {
      case "file":
        return parseProfile((await readSecretFile(source.file)).toString("utf8"), source.profile, source.file.label);
      case "keys":
        return {
          accessKeyId: await line(source.accessKey),
          secretAccessKey: await line(source.secretKey),
          sessionToken: source.sessionToken && (await line(source.sessionToken)),
          expiresAtMs: undefined,
        };
      case "instance":
        return await instanceKeys(this.#env, context);
      case "container":
        return await containerKeys(this.#env, context);
      case "anonymous":
        throw new Fault("DEFECT", "an anonymous store has no keys");
    }
  }
}

async function line(place: SecretPlace): Promise<string> {
  const text = (await readSecretFile(place)).toString("utf8").trim();
  if (text === "") throw new Fault("SECRET", `the secret '${place.label}' is empty`);
  return text;
}
