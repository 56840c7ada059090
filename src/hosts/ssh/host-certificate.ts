/**
 * Certificates of servers (`@cert-authority` in known_hosts; sshd(8), PROTOCOL.certkeys of OpenSSH). The library ssh2 does not know them: it
 * would look for the key that signed its exchange in the certificate itself. `useHostCertificate` shows it the certified key there.
 */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { createRequire } from "node:module";
import type { Client } from "ssh2";
import type { Fault } from "../../common/fault.ts";
import { type Certified, certificateSuffix, certifies, parseCertified, WireReader } from "./certified.ts";
import { unreachable } from "./faults.ts";
import {
  fingerprint,
  type HostKeyVerdict,
  judgeHostKey,
  keyType,
  type KnownKey,
  knownName,
  linesOf,
} from "./known-hosts.ts";
import { matchesPattern } from "./pattern.ts";

/** What of a server's answer decides: the key that has to have signed the exchange, and whether it may be trusted. */
export interface ShownKey {
  readonly key: Buffer;
  readonly verdict: HostKeyVerdict;
}

/** `shown`: a key or a certificate in the wire format. `name`: without the port. */
export function judgeShown(
  known: readonly KnownKey[],
  { name, port }: { readonly name: string; readonly port: number },
  shown: Buffer,
  nowMs: number,
): ShownKey {
  const full = knownName(name, port);
  if (keyType(shown)?.endsWith(certificateSuffix) !== true)
    return { key: shown, verdict: judgeHostKey(known, full, shown) };
  const certified = parsed(shown);
  if (!certified) return { key: shown, verdict: { ...noKey, flaw: "its certificate cannot be read" } };
  const { key, authority } = certified;
  const own = linesOf(known, full);
  const plain = judgeHostKey(known, full, key);
  const revoked = own.find((line) => line.marker === "revoked" && line.key.equals(authority));
  if (revoked) return { key, verdict: { state: "revoked", by: revoked } };
  if (plain.state === "revoked" || plain.state === "known") return { key, verdict: plain };
  const line = own.find(({ marker, key: trusted }) => marker === "cert-authority" && trusted.equals(authority));
  const flaw = line
    ? flawOf(certified, name.toLowerCase(), BigInt(Math.floor(nowMs / 1000)))
    : `its certificate is of another authority (${fingerprint(authority)})`;
  if (flaw === undefined) return { key, verdict: { state: "known" } };
  return { key, verdict: plain.state === "unknown" ? { ...plain, flaw } : plain };
}

const noKey = { state: "unknown", others: [], authority: undefined } as const;

function parsed(blob: Buffer): Certified | undefined {
  try {
    return parseCertified(blob);
  } catch {
    return undefined;
  }
}

/** As OpenSSH, but a certificate without names is for none. */
function flawOf(certified: Certified, name: string, now: bigint): string | undefined {
  const { kind, names, validAfter, validBefore, criticalOptions, id } = certified;
  const what = `its certificate '${id}'`;
  if (kind !== certifies.servers) return `${what} is not one of a server`;
  if (now < validAfter) return `${what} is not valid yet`;
  if (now >= validBefore) return `${what} has run out`;
  if (!names.some((pattern) => matchesPattern(pattern.toLowerCase(), name)))
    return `${what} is for other names: ${names.length === 0 ? "none" : names.join(", ")}`;
  if (criticalOptions.length > 0) return `${what} has options that nobody here knows: ${criticalOptions.join(", ")}`;
  return isSigned(certified) ? undefined : `${what} is not signed by the authority that it names`;
}

const hashes: Readonly<Record<string, string | null>> = {
  "ssh-ed25519": null,
  "ecdsa-sha2-nistp256": "sha256",
  "ecdsa-sha2-nistp384": "sha384",
  "ecdsa-sha2-nistp521": "sha512",
  // Not `ssh-rsa`, which is SHA-1.
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
};

function isSigned({ authority, signature, signed }: Certified): boolean {
  try {
    const reader = new WireReader(signature);
    const algorithm = reader.text().toString();
    const bytes = reader.text();
    const hash = Object.hasOwn(hashes, algorithm) ? hashes[algorithm] : undefined;
    if (hash === undefined) return false;
    const type = keyType(authority);
    if (type !== (algorithm.startsWith("rsa-") ? "ssh-rsa" : algorithm)) return false;
    const key = publicKey(authority);
    if (!type.startsWith("ecdsa-")) return verify(hash, signed, key, bytes);
    const halves = new WireReader(bytes).texts().map((half) => padded(half, key));
    return verify(hash, signed, { key, dsaEncoding: "ieee-p1363" }, Buffer.concat(halves));
  } catch {
    return false;
  }
}

const curves: Readonly<Record<string, { readonly crv: string; readonly bytes: number }>> = {
  nistp256: { crv: "P-256", bytes: 32 },
  nistp384: { crv: "P-384", bytes: 48 },
  nistp521: { crv: "P-521", bytes: 66 },
};

/** Of a key in the wire format (RFC 8709, 4253, 5656). @throws Error for what is no such key. */
function publicKey(blob: Buffer): KeyObject {
  const [type = "", ...fields] = new WireReader(blob).texts();
  const text = (bytes: Buffer): string => bytes.toString("base64url");
  const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = fields;
  if (String(type) === "ssh-ed25519")
    return createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x: text(first) } });
  if (String(type) === "ssh-rsa")
    return createPublicKey({ format: "jwk", key: { kty: "RSA", e: text(first), n: text(second) } });
  const curve = curves[String(first)];
  if (!curve || second[0] !== 4 || second.length !== 1 + 2 * curve.bytes) throw new Error("curve");
  const [x, y] = [second.subarray(1, 1 + curve.bytes), second.subarray(1 + curve.bytes)];
  return createPublicKey({ format: "jwk", key: { kty: "EC", crv: curve.crv, x: text(x), y: text(y) } });
}

/** A number of RFC 4251 (mpint) in as many bytes as the key's curve has. */
function padded(number: Buffer, key: KeyObject): Buffer {
  const { namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  const bytes = { prime256v1: 32, secp384r1: 48, secp521r1: 66 }[namedCurve] ?? 0;
  const digits = number.subarray(number.findIndex((byte) => byte !== 0));
  if (digits.length > bytes) throw new Error("too large");
  return Buffer.concat([Buffer.alloc(bytes - digits.length), digits]);
}

/** In the order in which they are offered; RSA is left to plain keys, for the library compares its names too early. */
export const certificateTypes = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
].map((type) => `${type}${certificateSuffix}`);

/** What of the library is needed beyond its interface; version 1.17. */
interface Internals {
  readonly _kex?: { _hostKey?: Buffer; readonly negotiated?: { serverHostKey: string } };
}

/** Before a client is told to offer them. @throws Fault UNREACHABLE (configuration) when the library is another one. */
export function allowHostCertificates(): void {
  const { SUPPORTED_SERVER_HOST_KEY: types } = createRequire(import.meta.url)("ssh2/lib/protocol/constants.js") as {
    readonly SUPPORTED_SERVER_HOST_KEY?: string[];
  };
  if (!Array.isArray(types)) throw another();
  if (!types.includes(certificateTypes[0] ?? "")) types.push(...certificateTypes);
}

/**
 * Of the exchange that shows `certificate`: it is hashed as it was shown, and then `key` must have signed it. Were a later version of the library
 * to look in another order, the signature would be wrong and nobody let in. @throws Fault UNREACHABLE (configuration) when the library is another one.
 */
export function useHostCertificate(client: Client, certificate: Buffer, key: Buffer): void {
  const { _protocol: protocol } = client as unknown as { readonly _protocol?: Internals };
  const exchange = protocol?._kex;
  if (!exchange?.negotiated || exchange._hostKey?.equals(certificate) !== true) throw another();
  exchange.negotiated.serverHostKey = keyType(key) ?? "";
  let isHashed = false;
  Object.defineProperty(exchange, "_hostKey", {
    configurable: true,
    get: () => {
      if (isHashed) return key;
      isHashed = true;
      return certificate;
    },
    set: (value: unknown) => {
      Object.defineProperty(exchange, "_hostKey", { configurable: true, writable: true, value });
    },
  });
}

function another(): Fault {
  return unreachable("configuration", "this version of the SSH library cannot take certificates of servers");
}
