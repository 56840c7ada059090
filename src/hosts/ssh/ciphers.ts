/**
 * The library hands Node's cryptography the key of AES-GCM as bytes with each packet, and Node takes longer to wrap them than to decrypt the
 * packet. `keepKeys` wraps them once for each exchange of keys.
 */
import { createSecretKey, type KeyObject } from "node:crypto";
import type { Client } from "ssh2";

type Key = Buffer | KeyObject;

interface Internals {
  readonly _protocol?: {
    readonly _cipher?: { _encKey?: Key };
    readonly _decipher?: { _decipherKey?: Key };
  };
}

/** To be called before the connection is made; where the library has none of this nothing happens. */
export function keepKeys(client: Client): void {
  client.on("handshake", () => {
    const { _cipher: cipher, _decipher: decipher } = (client as unknown as Internals)._protocol ?? {};
    if (Buffer.isBuffer(cipher?._encKey)) cipher._encKey = createSecretKey(cipher._encKey);
    if (Buffer.isBuffer(decipher?._decipherKey)) decipher._decipherKey = createSecretKey(decipher._decipherKey);
  });
}
