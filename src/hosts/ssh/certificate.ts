/**
 * OpenSSH certificates of accounts (PROTOCOL.certkeys of OpenSSH): a public key with a signature of an authority that the server trusts, in
 * a file `KEY-cert.pub`. The library ssh2 cannot log in with one: it would name the certificate's type in the signature, where servers want
 * the key's. `useCertificates` therefore takes the place of its one function that sends such a request.
 */
import { createPrivateKey, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Client, ParsedKey } from "ssh2";
import { errnoOf, Fault } from "../../common/fault.ts";
import { certificateSuffix, certifies, parseCertified, wireText } from "./certified.ts";
import { unreachable } from "./faults.ts";

export interface Certificate {
  readonly path: string;
  /** In the wire format. */
  readonly blob: Buffer;
  /** As `ssh-ed25519-cert-v01@openssh.com`. */
  readonly type: string;
  /** The plain public key that it certifies, in the wire format. */
  readonly key: Buffer;
  /** What the authority called it. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
}

/** @throws Fault UNSUPPORTED for a file that holds no certificate of an account. */
export async function readCertificate(path: string): Promise<Certificate> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new Fault("SECRET", `the certificate '${path}' cannot be read: ${errnoOf(error) ?? String(error)}`);
  });
  const [type = "", encoded = ""] = text.trim().split(/\s+/);
  try {
    return parseCertificate(path, type, Buffer.from(encoded, "base64"));
  } catch {
    throw new Fault("UNSUPPORTED", `'${path}' holds no certificate of an account that can be used`);
  }
}

function parseCertificate(path: string, type: string, blob: Buffer): Certificate {
  const { key, kind, id, validAfter, validBefore, ...rest } = parseCertified(blob);
  if (rest.type !== type) throw new Error("type");
  if (kind !== certifies.accounts) throw new Error("of a server");
  return { path, blob, type, key, id, validAfter, validBefore };
}

const certified = new WeakMap<object, Certificate>();

/** The key, shown by its certificate. For a client with `useCertificates`. */
export function certifiedKey(key: ParsedKey, certificate: Certificate): ParsedKey {
  const shown = Object.create(key, {
    type: { value: key.type === "ssh-rsa" ? `rsa-sha2-512${certificateSuffix}` : certificate.type },
    getPublicSSH: { value: () => certificate.blob },
  }) as ParsedKey;
  certified.set(shown, certificate);
  return shown;
}

/** What of the library is needed beyond its interface; version 1.17. */
interface Internals {
  readonly _kex: { readonly sessionID: Buffer };
  readonly _authsQueue: string[];
  readonly _packetRW: {
    readonly write: { readonly allocStart: number; alloc(bytes: number): Buffer; finalize(packet: Buffer): Buffer };
  };
  authPK(user: string, key: ParsedKey, algorithm?: unknown, sign?: unknown): void;
}

/** Lets a client that was told to connect log in with `certifiedKey`. @throws Fault UNREACHABLE (configuration) when the library is another one. */
export function useCertificates(client: Client): void {
  const { _protocol: protocol } = client as unknown as { readonly _protocol?: Internals };
  const { sendPacket } = createRequire(import.meta.url)("ssh2/lib/protocol/utils.js") as {
    readonly sendPacket?: (protocol: Internals, packet: Buffer) => void;
  };
  if (!protocol?._packetRW.write || !protocol._authsQueue || !sendPacket || typeof protocol.authPK !== "function")
    throw unreachable("configuration", "this version of the SSH library cannot log in with certificates");
  const plain = protocol.authPK.bind(protocol);
  protocol.authPK = (user, key, algorithm, signer) => {
    const certificate = certified.get(key);
    // Without a signature it is the question whether the key would do.
    if (!certificate || typeof (signer ?? algorithm) !== "function") return plain(user, key, algorithm, signer);
    const request = Buffer.concat([
      Buffer.from([50]), // SSH_MSG_USERAUTH_REQUEST (RFC 4252, section 7)
      ...[user, "ssh-connection", "publickey"].map((word) => wireText(Buffer.from(word))),
      Buffer.from([1]),
      wireText(Buffer.from(key.type)),
      wireText(certificate.blob),
    ]);
    const signature = signed(key, Buffer.concat([wireText(protocol._kex.sessionID), request]));
    const message = Buffer.concat([request, wireText(signature)]);
    const { write } = protocol._packetRW;
    const packet = write.alloc(message.length);
    packet.set(message, write.allocStart);
    protocol._authsQueue.push("publickey");
    sendPacket(protocol, write.finalize(packet));
  };
}

const curveHashes: Readonly<Record<string, string>> = { nistp256: "sha256", nistp384: "sha384", nistp521: "sha512" };

/** Algorithm and signature as servers want them (RFC 8709, 8332, 5656). */
function signed(shown: ParsedKey, data: Buffer): Buffer {
  const { type } = Object.getPrototypeOf(shown) as ParsedKey;
  const key = createPrivateKey(shown.getPrivatePEM());
  const curve = /^ecdsa-sha2-(nistp\d+)$/.exec(type)?.[1];
  if (type === "ssh-rsa")
    return Buffer.concat([wireText(Buffer.from("rsa-sha2-512")), wireText(sign("sha512", data, key))]);
  if (curve === undefined) return Buffer.concat([wireText(Buffer.from(type)), wireText(sign(null, data, key))]);
  const both = sign(curveHashes[curve], data, { key, dsaEncoding: "ieee-p1363" });
  const halves = [both.subarray(0, both.length / 2), both.subarray(both.length / 2)];
  return Buffer.concat([
    wireText(Buffer.from(type)),
    wireText(Buffer.concat(halves.map((half) => wireText(positive(half))))),
  ]);
}

/** A number of RFC 4251 (mpint) that is not negative: no needless zeros in front, one where the first bit is set. */
function positive(bytes: Buffer): Buffer {
  let at = 0;
  while (at < bytes.length - 1 && bytes[at] === 0) at++;
  const short = bytes.subarray(at);
  return (short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short;
}

/** Why it is of no use now; undefined = it is. */
export function outOfTime({ path, validAfter, validBefore }: Certificate, nowMs: number): string | undefined {
  const now = BigInt(Math.floor(nowMs / 1000));
  if (now < validAfter) return `the certificate '${path}' is not valid yet`;
  if (now < validBefore) return undefined;
  return `the certificate '${path}' has run out at ${new Date(Number(validBefore) * 1000).toISOString()}`;
}

const longestNoticeS = 7 * 86_400;
const shortestNoticeS = 3_600;

/** That it is about to run out: in the last tenth of its time, but an hour at least and a week at most. Undefined: not yet, or no more. */
export function endsSoon({ path, validAfter, validBefore }: Certificate, nowMs: number): string | undefined {
  const [begin, end] = [Number(validAfter), Number(validBefore)];
  const left = end - Math.floor(nowMs / 1000);
  const notice = Math.min(longestNoticeS, Math.max(shortestNoticeS, (end - begin) / 10));
  if (left <= 0 || left > notice) return undefined;
  return `the certificate '${path}' runs out at ${new Date(end * 1000).toISOString()}`;
}
