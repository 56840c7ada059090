/**
 * What an SFTP session of the SSH library reads, put where it is wanted at once: the library collects each answer of up to 256 KiB in a buffer
 * that it makes for it, and copies it from there.
 */
import type { SFTPWrapper } from "ssh2";
import { giveUp, ownsPackets } from "./ciphers.ts";

/** SSH_FXP_DATA (draft-ietf-secsh-filexfer-02, section 7). */
const dataAnswer = 103;
/** Length of the packet, type, number of the request, length of the data. */
const headBytes = 13;

interface Request {
  /** Where the answer goes. */
  readonly buffer?: Buffer;
  readonly cb?: (error: undefined, buffer: Buffer, bytes: number) => void;
}

/** What the library has of a session. */
interface Internals {
  readonly _client: object;
  _protocol: { channelData(channel: number, data: Buffer): void };
  push(data: Buffer | null): void;
  /** Of the length of the packet that is coming: how many of its 4 bytes are there. */
  readonly _pktLenBytes: number;
  readonly _pktLen: number;
  readonly _pktPos: number;
  readonly _requests: Record<number, Request | undefined>;
}

/** An answer on its way to its place. */
interface Coming {
  readonly buffer: Buffer;
  readonly done: (error: undefined, buffer: Buffer, bytes: number) => void;
  readonly number: number;
  readonly bytes: number;
  got: number;
}

/** The library makes a buffer for each request to write, too: its last piece is encrypted, and thereby copied, when it is given up. */
export function giveUpWritten(session: SFTPWrapper): void {
  const sftp = session as unknown as Internals;
  const protocol = sftp._protocol;
  if (typeof protocol?.channelData !== "function") return;
  const send = (channel: number, data: Buffer): void => {
    protocol.channelData(channel, data);
    const whole = Buffer.from(data.buffer);
    if (data.byteOffset + data.byteLength === whole.byteLength) giveUp(whole);
  };
  sftp._protocol = new Proxy(protocol, {
    get: (target, name) => {
      if (name === "channelData") return send;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** To be called once for a new session; where the library has none of this nothing happens. */
export function readInPlace(session: SFTPWrapper): void {
  const sftp = session as unknown as Internals;
  if (typeof sftp.push !== "function" || sftp._pktLenBytes !== 0 || typeof sftp._requests !== "object") return;
  const push = sftp.push.bind(sftp);
  let coming: Coming | undefined;
  const take = (data: Buffer, at: number): number => {
    if (!coming) {
      coming = begun(sftp, data, at);
      if (coming) return headBytes;
      const count = Math.min(packetBytes(sftp, data, at), data.byteLength - at);
      push(Buffer.from(data.subarray(at, at + count))); // it may keep it
      return count;
    }
    const { buffer, done, number, bytes, got } = coming;
    const piece = data.subarray(at, at + bytes - got);
    buffer.set(piece, got);
    coming.got += piece.byteLength;
    if (coming.got === bytes) {
      coming = undefined;
      delete sftp._requests[number];
      done(undefined, buffer, bytes);
    }
    return piece.byteLength;
  };
  sftp.push = (data) => {
    if (!data) {
      push(data);
      return;
    }
    for (let at = 0; at < data.byteLength;) at += take(data, at);
    if (ownsPackets(sftp._client)) giveUp(data);
  };
}

/** The answer whose packet begins at `at`, if there is a place for it and its head has come whole. */
function begun(sftp: Internals, data: Buffer, at: number): Coming | undefined {
  if (sftp._pktLenBytes > 0 || data.byteLength - at < headBytes || data.readUInt8(at + 4) !== dataAnswer)
    return undefined;
  const number = data.readUInt32BE(at + 5);
  const bytes = data.readUInt32BE(at + 9);
  const { buffer, cb: done } = sftp._requests[number] ?? {};
  // What to do with others is left to the library.
  const fits =
    buffer !== undefined && bytes > 0 && bytes <= buffer.byteLength && data.readUInt32BE(at) === bytes + headBytes - 4;
  if (!fits || !done) return undefined;
  return { buffer, done, number, bytes, got: 0 };
}

/** How much of what comes belongs to the packet that the library is reading, or is to begin. */
function packetBytes({ _pktLenBytes, _pktLen, _pktPos }: Internals, data: Buffer, at: number): number {
  if (_pktLenBytes === 4) return Math.max(1, _pktLen - _pktPos);
  if (_pktLenBytes > 0 || data.byteLength - at < 4) return 1;
  return 4 + data.readUInt32BE(at);
}
