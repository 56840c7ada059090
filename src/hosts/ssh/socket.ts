/** A connection of TCP as the SSH library uses it best: it writes each packet in three pieces, and makes a buffer of each read. */
import { connect, type Socket } from "node:net";

/** Of one read, at most. */
const readBytes = 512 * 1024;
/** Of one write; packets are shorter. */
const blockBytes = 128 * 1024;
/** Blocks that wait for the next write. */
const mostSpare = 4;

/** What its two ends may rely on. */
export interface Wire {
  readonly socket: Socket;
  /** Who listens for data keeps nothing of it: all reads go to the same buffer. To be set when that is so. */
  readsAreCopied: boolean;
}

/** Connecting; paused until somebody listens for its data. What is written is copied. */
export function openWire({ host, port }: { readonly host: string; readonly port: number }): Wire {
  const socket = connect({
    host,
    port,
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (count, buffer) => {
        const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, count);
        socket.emit("data", wire.readsAreCopied ? chunk : Buffer.from(chunk));
        return true;
      },
    },
  });
  socket.pause();
  gather(socket);
  const wire: Wire = { socket, readsAreCopied: false };
  return wire;
}

/** What is written in one turn of the main loop goes together, by few calls and not by dozens. */
function gather(socket: Socket): void {
  const write = socket.write.bind(socket) as (data: Uint8Array, done: () => void) => boolean;
  const end = socket.end.bind(socket);
  const spare: Buffer[] = [];
  let block: Buffer | undefined;
  let used = 0;
  const flush = (): void => {
    if (!block) return;
    const full = block;
    block = undefined;
    if (!socket.writable) return;
    write(full.subarray(0, used), () => {
      if (spare.length < mostSpare) spare.push(full);
    });
  };
  const add = (data: Uint8Array): boolean => {
    for (let at = 0; at < data.byteLength;) {
      if (!block) {
        block = spare.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
        used = 0;
        process.nextTick(flush);
      }
      const piece = data.subarray(at, at + blockBytes - used);
      block.set(piece, used);
      used += piece.byteLength;
      at += piece.byteLength;
      if (used === blockBytes) flush();
    }
    return true;
  };
  Object.assign(socket, {
    write: add,
    end: (): Socket => {
      flush();
      return end();
    },
  });
}
