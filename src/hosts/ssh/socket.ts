/** A connection of TCP as the SSH library uses it best: it writes each packet in three pieces, and makes a buffer of each read. */
import { connect, type Socket } from "node:net";

/** Of one read, at most: a buffer that is used again, where the library would get a new one each time. */
const readBytes = 512 * 1024;
/** What comes in short pieces is copied: the library keeps parts of what comes before the first encrypted packet. */
const copiedBytes = 16 * 1024;

/** Connecting; paused until somebody listens for its data. */
export function openSocket({ host, port }: { readonly host: string; readonly port: number }): Socket {
  const socket = connect({
    host,
    port,
    noDelay: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (count, buffer) => {
        const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, count);
        socket.emit("data", count < copiedBytes ? Buffer.from(chunk) : chunk);
        return true;
      },
    },
  });
  socket.pause();
  return gathering(socket);
}

/** What is written in one turn of the main loop goes together, by one call and not by dozens. */
function gathering(socket: Socket): Socket {
  const write = socket.write.bind(socket) as (data: Uint8Array) => boolean;
  let gathers = false;
  const flush = (): void => {
    gathers = false;
    socket.uncork();
  };
  return Object.assign(socket, {
    write: (data: Uint8Array): boolean => {
      if (!gathers) {
        gathers = true;
        socket.cork();
        process.nextTick(flush);
      }
      return write(data);
    },
  });
}
