/** What OpenSSH's certificates say (PROTOCOL.certkeys of OpenSSH): a public key with a signature of an authority, for accounts or for servers. */

/** For whom it is. */
export const certifies = { accounts: 1n, servers: 2n } as const;

/** How the types of certificates differ from those of their keys. */
export const certificateSuffix = "-cert-v01@openssh.com";

export interface Certified {
  /** As `ssh-ed25519-cert-v01@openssh.com`. */
  readonly type: string;
  /** The plain public key that it certifies, in the wire format. */
  readonly key: Buffer;
  readonly kind: bigint;
  /** What the authority called it. */
  readonly id: string;
  /** Accounts or names of servers that it is for. */
  readonly names: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  /** Names of the options that nobody may pass over who does not know them. */
  readonly criticalOptions: readonly string[];
  /** The authority's public key, its signature with the algorithm before it, and what it signed. */
  readonly authority: Buffer;
  readonly signature: Buffer;
  readonly signed: Buffer;
}

/** Fields of the public key after type and nonce, by the type of the key. */
const keyFields: Readonly<Record<string, number>> = {
  "ssh-ed25519": 1,
  "ssh-rsa": 2,
  "ecdsa-sha2-nistp256": 2,
  "ecdsa-sha2-nistp384": 2,
  "ecdsa-sha2-nistp521": 2,
};

/** @throws Error for what is no certificate of such a key, whole. */
export function parseCertified(blob: Buffer): Certified {
  const reader = new WireReader(blob);
  const type = reader.text().toString();
  const plain = type.slice(0, -certificateSuffix.length);
  const fields = keyFields[plain];
  if (fields === undefined || !type.endsWith(certificateSuffix)) throw new Error("type");
  reader.text(); // nonce
  const key = [Buffer.from(plain), ...Array.from({ length: fields }, () => reader.text())];
  reader.number(8); // serial
  const kind = reader.number(4);
  const id = reader.text().toString();
  const names = new WireReader(reader.text()).texts().map(String);
  const [validAfter, validBefore] = [reader.number(8), reader.number(8)];
  const options = new WireReader(reader.text()).texts();
  reader.text(); // extensions
  reader.text(); // reserved
  const authority = reader.text();
  const signed = reader.before;
  const signature = reader.text();
  if (reader.left > 0) throw new Error("too long");
  return {
    type,
    key: Buffer.concat(key.map(wireText)),
    kind,
    id,
    names,
    validAfter,
    validBefore,
    criticalOptions: options.filter((_, index) => index % 2 === 0).map(String),
    authority,
    signature,
    signed,
  };
}

/** Reads the wire format of SSH (RFC 4251, section 5). Its calls throw when there is less than they want. */
export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** What was read. */
  get before(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  text(): Buffer {
    const length = Number(this.number(4));
    if (length > this.left) throw new Error("cut");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** All that there are. */
  texts(): readonly Buffer[] {
    const all: Buffer[] = [];
    while (this.left > 0) all.push(this.text());
    return all;
  }

  number(bytes: 4 | 8): bigint {
    this.#at += bytes;
    return bytes === 4 ? BigInt(this.#bytes.readUInt32BE(this.#at - 4)) : this.#bytes.readBigUInt64BE(this.#at - 8);
  }
}

export function wireText(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
