/** How we prove who we are: key files and the agent. Nothing that would ask a person. */
import type { AnyAuthMethod, AuthenticationType, NextAuthHandler, ParsedKey, utils } from "ssh2";
import { Fault, isFault } from "../../common/fault.ts";
import { readSecretFile, type SecretPlace } from "../../common/secret-file.ts";
import { type Certificate, certifiedKey, outOfTime, readCertificate } from "./certificate.ts";
import { type RefusedLogin, unreachable } from "./faults.ts";
import { fingerprint } from "./known-hosts.ts";
import type { Hop } from "./route.ts";

type ParseKey = typeof utils.parseKey;

/** One login at one machine; `refused` tells afterwards what came of it. */
export interface Login {
  /** As ssh2 wants it: the next method each time one was refused. */
  readonly handler: (left: AuthenticationType[] | null, partial: boolean | null, next: NextAuthHandler) => void;
  readonly refused: () => RefusedLogin;
  /** One of the keys is shown by a certificate: the client has to know how. */
  readonly certificates: boolean;
}

interface Offer {
  readonly method: AnyAuthMethod;
  readonly words: string;
}

/** Reads the keys before anything is sent: what is wrong on this side is no refused login. @throws Fault UNREACHABLE (configuration). */
export async function prepareLogin(hop: Hop, parse: ParseKey): Promise<Login> {
  const offers: Offer[] = [];
  const unusable: string[] = [];
  const { certificates, notes } = await certificatesOf(hop);
  const offer = (key: ParsedKey, words: string): void => {
    // A key that is parsed already is taken as it is, which the types of the library do not say.
    offers.push({ method: { type: "publickey", username: hop.user, key: key as unknown as Buffer }, words });
  };
  for (const place of hop.keys) {
    try {
      const key = await readKey(place, hop.passphrase, parse);
      for (const certificate of certificates.filter((one) => one.key.equals(key.getPublicSSH())))
        offer(certifiedKey(key, certificate), `certificate '${certificate.path}' ('${certificate.id}')`);
      offer(key, `key '${place.label}' (${fingerprint(key.getPublicSSH())})`);
    } catch (error) {
      if (!isFault(error)) throw error;
      if (hop.keysAreNamed) throw unreachable("configuration", error.message, withHint(error));
      unusable.push(error.message);
    }
  }
  if (hop.agent !== undefined)
    offers.push({ method: { type: "agent", username: hop.user, agent: hop.agent }, words: "the keys of the agent" });
  if (offers.length === 0) {
    const more = unusable.length === 0 ? "" : `: ${unusable.join("; ")}`;
    throw unreachable("configuration", `there is no key to log in to '${hop.label}' with${more}`, {
      hint: "name one: ssh: {key: {file: …}}, or give the agent's process SSH_AUTH_SOCK",
    });
  }
  return { ...loginOf(offers, notes), certificates: certificates.length > 0 };
}

/** Those that can be used now, and why the others cannot. */
async function certificatesOf(
  hop: Hop,
): Promise<{ readonly certificates: readonly Certificate[]; readonly notes: readonly string[] }> {
  const certificates: Certificate[] = [];
  const notes: string[] = [];
  for (const path of hop.certificates) {
    try {
      const certificate = await readCertificate(path);
      const flaw = outOfTime(certificate, Date.now());
      if (flaw === undefined) certificates.push(certificate);
      else notes.push(flaw);
    } catch (error) {
      if (!isFault(error)) throw error;
      notes.push(error.message);
    }
  }
  return { certificates, notes };
}

function withHint(fault: Fault): { readonly hint?: string; readonly cause: unknown } {
  return { ...(fault.hint === undefined ? {} : { hint: fault.hint }), cause: fault };
}

function loginOf(offers: readonly Offer[], notes: readonly string[]): Omit<Login, "certificates"> {
  const left = [...offers];
  const tried: string[] = [];
  let methods: readonly string[] = ["publickey"];
  const end = (next: NextAuthHandler): void => (next as (method: AnyAuthMethod | false) => void)(false);
  return {
    handler(nowLeft, _partial, next) {
      if (nowLeft) methods = nowLeft;
      const offer = methods.includes("publickey") ? left.shift() : undefined;
      if (!offer) return end(next);
      tried.push(offer.words);
      next(offer.method);
    },
    refused: () => ({ tried, methods, notes }),
  };
}

/** @throws Fault SECRET or UNSUPPORTED, never with a word of the key or of the passphrase. */
async function readKey(place: SecretPlace, passphrase: SecretPlace | undefined, parse: ParseKey): Promise<ParsedKey> {
  const bytes = await readSecretFile(place);
  const secret = passphrase === undefined ? undefined : (await readSecretFile(passphrase)).toString("utf8");
  const parsed: ParsedKey | readonly ParsedKey[] | Error = parse(bytes, secret?.replace(/\r?\n$/, ""));
  const key = Array.isArray(parsed) ? (parsed as readonly ParsedKey[])[0] : (parsed as ParsedKey | Error);
  if (key !== undefined && !(key instanceof Error) && key.isPrivateKey()) return key;
  const text = key instanceof Error ? key.message : "";
  if (/no passphrase given/i.test(text)) {
    throw new Fault("SECRET", `the key '${place.label}' is encrypted, and no passphrase is named`, {
      hint: "ssh: {key: …, passphrase: {file: …}}, or load the key into an agent",
    });
  }
  if (/bad (passphrase|decrypt)|integrity check failed/i.test(text)) {
    throw new Fault("SECRET", `the passphrase '${passphrase?.label ?? ""}' does not open the key '${place.label}'`);
  }
  throw new Fault("UNSUPPORTED", `'${place.label}' is no private key that can be used: ${text || "a public key"}`, {
    hint: "Ed25519, ECDSA and RSA keys in OpenSSH's or PEM format work; keys on hardware tokens only through an agent",
  });
}
