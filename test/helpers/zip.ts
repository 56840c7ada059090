import { crc32, deflateRawSync } from "node:zlib";

/** An entry as a test wants it in an archive, lies included. */
export interface ZipPart {
  readonly name: string | Buffer;
  readonly content?: string | Buffer;
  /** File mode of Unix, type included; 0 = none said. */
  readonly mode?: number;
  readonly method?: number;
  readonly flags?: number;
  /** What the archive says, where that is not so. */
  readonly said?: {
    readonly bytes?: number;
    readonly storedBytes?: number;
    readonly crc32?: number;
    readonly localName?: string;
  };
  /** Data of the entry with this number instead of its own. */
  readonly dataOf?: number;
}

/** A ZIP archive of these parts, in this order. */
export function zipOf(parts: readonly ZipPart[], options: { readonly comment?: string } = {}): Buffer {
  const pieces: Buffer[] = [];
  const central: Buffer[] = [];
  const headers: number[] = [];
  let at = 0;
  const add = (piece: Buffer): void => {
    pieces.push(piece);
    at += piece.length;
  };
  for (const part of parts) {
    const name = Buffer.from(part.name);
    const content = Buffer.from(part.content ?? "");
    const method = part.method ?? 8;
    const stored = method === 8 ? deflateRawSync(content) : content;
    const sum = part.said?.crc32 ?? crc32(content);
    const [storedBytes, bytes] = [part.said?.storedBytes ?? stored.length, part.said?.bytes ?? content.length];
    const headerAt = part.dataOf === undefined ? at : (headers[part.dataOf] ?? at);
    headers.push(at);
    if (part.dataOf === undefined) {
      const localName = Buffer.from(part.said?.localName ?? name);
      const local = Buffer.alloc(30);
      local.writeUInt32LE(0x04034b50, 0);
      local.writeUInt16LE(method, 8);
      local.writeUInt16LE(localName.length, 26);
      for (const piece of [local, localName, stored]) add(piece);
    }
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE((part.mode === undefined ? 0 : 3) << 8, 4);
    entry.writeUInt16LE(part.flags ?? 0, 8);
    entry.writeUInt16LE(method, 10);
    for (const [offset, value] of [
      [16, sum],
      [20, storedBytes],
      [24, bytes],
      [42, headerAt],
    ] as const) {
      entry.writeUInt32LE(value, offset);
    }
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(((part.mode ?? 0) << 16) >>> 0, 38);
    central.push(entry, name);
  }
  const directory = Buffer.concat(central);
  const comment = Buffer.from(options.comment ?? "");
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(parts.length, 8);
  end.writeUInt16LE(parts.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...pieces, directory, end, comment]);
}
