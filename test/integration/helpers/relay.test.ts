import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { expect, it } from "vitest";
import { Relay } from "../../helpers/relay.ts";
import { waitFor } from "../../helpers/wait.ts";

const kibibyte = 1024;

/** A server on loopback that does `each` with its connections. */
async function serve(each: (socket: Socket) => void): Promise<{ readonly port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    each(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function echo(socket: Socket): void {
  socket.pipe(socket);
}

function connect(relay: Relay): Socket {
  const socket = createConnection({ port: relay.port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  return socket;
}

it("hands bytes on in order and whole, with the end of each direction", async () => {
  await using server = await serve(echo);
  await using relay = await Relay.start(server.port, { delayMs: 2, bytesPerSecond: 8_000 * kibibyte });
  const sent = Buffer.alloc(1_500 * kibibyte);
  for (let at = 0; at < sent.length; at += 4) sent.writeUInt32LE(at, at);
  const socket = connect(relay);
  socket.end(sent);
  expect((await buffer(socket)).equals(sent)).toBe(true);
  expect(relay.bytes).toEqual({ up: sent.length, down: sent.length });
});

it("delays each direction", async () => {
  await using server = await serve(echo);
  await using relay = await Relay.start(server.port, { delayMs: 30 });
  const socket = connect(relay);
  await once(socket, "connect");
  const startedAt = performance.now();
  socket.write("x");
  await once(socket, "data");
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(60);
});

it("takes no more in a second than the line does, over all connections", async () => {
  await using server = await serve((socket) => socket.resume());
  await using relay = await Relay.start(server.port, { bytesPerSecond: 2_000 * kibibyte });
  const startedAt = performance.now();
  const sockets = [connect(relay), connect(relay)];
  for (const socket of sockets) socket.end(Buffer.alloc(400 * kibibyte));
  await waitFor(() => relay.bytes.up === 800 * kibibyte, { what: "all bytes" });
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(390);
});

it("holds up a sender whose receiver does not read", async () => {
  const held: Socket[] = [];
  await using server = await serve((socket) => held.push(socket.pause()));
  await using relay = await Relay.start(server.port, { bytesPerSecond: 100_000 * kibibyte });
  const socket = connect(relay);
  const megabyte = Buffer.alloc(1024 * kibibyte);
  for (let count = 0; count < 96; count++) socket.write(megabyte);
  await waitFor(() => relay.bytes.up > 0 && held.length === 1, { what: "the first bytes" });
  let before = -1;
  await waitFor(() => before === (before = socket.bytesWritten - socket.writableLength), {
    what: "a sender that stands still",
    intervalMs: 300,
  });
  expect(socket.writableLength).toBeGreaterThan(32 * megabyte.length);
  held[0]?.resume();
  await waitFor(() => relay.bytes.up === 96 * megabyte.length, { what: "the rest", timeoutMs: 30_000 });
});

it("resets one end when the other is reset, and all when it is disposed of", async () => {
  const held: Socket[] = [];
  await using server = await serve((socket) => held.push(socket.resume()));
  await using relay = await Relay.start(server.port);
  const [first, second] = [connect(relay), connect(relay)];
  await waitFor(() => held.length === 2, { what: "both connections" });
  held[0]?.resetAndDestroy();
  await waitFor(() => first.destroyed !== second.destroyed, { what: "the end of one of them" });
  await relay[Symbol.asyncDispose]();
  await waitFor(() => first.destroyed && second.destroyed, { what: "the end of both" });
});
