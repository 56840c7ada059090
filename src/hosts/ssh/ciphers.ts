/**
 * AES-GCM of the SSH library without its native part, as it is nearly everywhere, with less work for each packet. The library hands Node's
 * cryptography the key as bytes each time, which Node takes longer to wrap than to decrypt the packet; and it makes several buffers for each
 * packet, which keep the garbage collector busy for as long again. Other ciphers are left as they are.
 */
import { createSecretKey, type KeyObject, randomFillSync } from "node:crypto";
import type { Client } from "ssh2";
import type { Wire } from "./socket.ts";

type Key = Buffer | KeyObject;

/** What there is of it where Node's own AES-GCM is used. */
interface Cipher {
  _encKey?: Key;
  _onWrite?(data: Buffer): void;
  allocPacket?(payloadBytes: number): Buffer;
}

interface Decipher {
  _decipherKey?: Key;
}

interface Internals {
  readonly _protocol?: { readonly _cipher?: Cipher; readonly _decipher?: Decipher };
}

/** Payloads from this size on are worth it; shorter ones may have to wait before they are encrypted. */
const leastBytes = 8 * 1024;
/** A packet has no more (RFC 4253, section 6.1: 35,000 bytes). */
const scratchBytes = 64 * 1024;
const paddingBytes = 4_096;

/** Those that decrypt each packet into a buffer of its own. */
const decrypting = new WeakSet<object>();

/** To be called before the connection is made; where the library has none of this nothing happens. `wire`: undefined through a jump host. */
export function tuneCiphers(client: Client, wire: Wire | undefined): void {
  const scratch = Buffer.allocUnsafeSlow(scratchBytes);
  // With each exchange of keys the library makes new ones.
  client.on("handshake", () => {
    const { _cipher: cipher, _decipher: decipher } = (client as unknown as Internals)._protocol ?? {};
    const key = decipher?._decipherKey;
    const known = Buffer.isBuffer(key);
    if (decipher && known) decipher._decipherKey = createSecretKey(key);
    if (known) decrypting.add(client);
    else decrypting.delete(client);
    if (wire) wire.readsAreCopied = known;
    if (!cipher || !Buffer.isBuffer(cipher._encKey)) return;
    cipher._encKey = createSecretKey(cipher._encKey);
    if (wire) spareBuffers(cipher, scratch);
  });
}

/** Whether what a connection has received lies in buffers that may be given up. */
export function ownsPackets(client: object): boolean {
  return decrypting.has(client);
}

/** Packets are put together in one place, for each is encrypted before the next is begun; and what was encrypted is given up once it is copied. */
function spareBuffers(cipher: Cipher, scratch: Buffer): void {
  const allocate = cipher.allocPacket?.bind(cipher);
  const write = cipher._onWrite?.bind(cipher);
  if (!allocate || !write) return;
  cipher.allocPacket = (payloadBytes) => {
    const padding = paddingOf(payloadBytes);
    const length = 5 + payloadBytes + padding;
    if (payloadBytes < leastBytes || length > scratchBytes) return allocate(payloadBytes);
    const packet = scratch.subarray(0, length);
    packet.writeUInt32BE(length - 4, 0);
    packet.writeUInt8(padding, 4);
    fillRandomly(packet.subarray(length - padding));
    return packet;
  };
  cipher._onWrite = (data) => {
    write(data);
    giveUp(data, scratch.buffer);
  };
}

/** To a multiple of 16 without the length, and at least 4 (RFC 4253, section 6; RFC 5647, section 7.2). */
function paddingOf(payloadBytes: number): number {
  const least = 16 - ((payloadBytes + 1) % 16);
  return least < 4 ? least + 16 : least;
}

const padding = { bytes: Buffer.allocUnsafeSlow(paddingBytes), used: paddingBytes };

function fillRandomly(target: Buffer): void {
  if (padding.used + target.byteLength > paddingBytes) {
    randomFillSync(padding.bytes);
    padding.used = 0;
  }
  target.set(padding.bytes.subarray(padding.used, padding.used + target.byteLength));
  padding.used += target.byteLength;
}

/**
 * Gives the memory of a large buffer back at once, which is its own and which nobody needs any more: the garbage collector would have to
 * run for every 30 MiB of them. Others, and `but`, are left alone.
 */
export function giveUp({ buffer, byteLength }: Buffer, but?: ArrayBufferLike): void {
  const own = byteLength >= leastBytes && buffer.byteLength - byteLength < leastBytes;
  if (own && buffer !== but && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
