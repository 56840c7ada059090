/**
 * What travels between the holder of a terminal and the people attached to it: one byte of kind, four bytes of length, content.
 * To the holder: `i` input, `r` size as JSON. From it: `o` output, `x` the end as JSON.
 */
export type FrameKind = "i" | "r" | "o" | "x";

const headerBytes = 5;
/** Anything longer is no frame of ours. */
const longestFrameBytes = 1024 * 1024;

export function frame(kind: FrameKind, content: Uint8Array | string): Buffer {
  const body = Buffer.from(content);
  const header = Buffer.alloc(headerBytes);
  header.write(kind, 0, "latin1");
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

/** Cuts a stream into frames; throws on what is no frame. */
export function frameReader(onFrame: (kind: string, content: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= headerBytes) {
      const length = rest.readUInt32BE(1);
      if (length > longestFrameBytes) throw new Error(`a frame of ${length} bytes; allowed: ${longestFrameBytes}`);
      if (rest.length < headerBytes + length) return;
      const content = rest.subarray(headerBytes, headerBytes + length);
      onFrame(rest.toString("latin1", 0, 1), content);
      rest = rest.subarray(headerBytes + length);
    }
  };
}
