import { createRequire } from "node:module";
import type { SFTPWrapper } from "ssh2";
import { expect, it } from "vitest";
import { giveUpWritten, readInPlace } from "../../../../src/hosts/ssh/sftp-data.ts";
import { seeded } from "../../../helpers/random.ts";

const { SFTP } = createRequire(import.meta.url)("ssh2/lib/protocol/SFTP.js") as {
  readonly SFTP: new (
    client: unknown,
    channel: unknown,
    settings: unknown,
  ) => SFTPWrapper & {
    readonly outgoing: { window: number };
    push(data: Buffer | null): void;
    _chunkcb(): void;
  };
};

/** The library's own session, whose requests lead nowhere. */
function session(onSent: (data: Buffer) => void = () => {}): InstanceType<typeof SFTP> {
  const client = { _protocol: { channelData: (_channel: number, data: Buffer) => onSent(data) } };
  const end = { id: 0, window: 2 ** 31, packetSize: 32_768, state: "open" };
  const sftp = new SFTP(client, { type: "sftp", incoming: { ...end }, outgoing: { ...end } }, {});
  sftp.push(packet(2, Buffer.from([0, 0, 0, 3])));
  readInPlace(sftp);
  giveUpWritten(sftp);
  return sftp;
}

function packet(type: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from([type]), ...parts]);
  return Buffer.concat([number(body.byteLength), body]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(content: Buffer): Buffer {
  return Buffer.concat([number(content.byteLength), content]);
}

it.each([1, 2, 3, 4, 5])("answers come to their places however they are cut into pieces (%i)", (seed) => {
  const random = seeded(seed);
  const sftp = session();
  const told: string[] = [];
  const handle = Buffer.from("h");
  const contents = [30_000, 1, 20_000, 5].map((bytes, index) => Buffer.alloc(bytes, `content ${index} `));
  const places = contents.map(({ byteLength }) => Buffer.alloc(byteLength + 10));
  for (const [index, place] of places.entries()) {
    sftp.read(handle, place, 10, place.byteLength - 10, 0, (_error, count) => told.push(`read ${index}: ${count}`));
    sftp.open(`/${index}`, "r", (_error, opened) => told.push(`open ${index}: ${opened.toString()}`));
  }
  const answers = Buffer.concat(
    contents.flatMap((content, index) => [
      packet(103, number(2 * index), text(content)),
      packet(102, number(2 * index + 1), text(Buffer.from(`handle ${index}`))),
    ]),
  );
  for (let at = 0; at < answers.byteLength;) {
    const piece = Math.ceil(25_000 * random() ** 8);
    sftp.push(Buffer.from(answers.subarray(at, at + piece)));
    at += piece;
  }
  expect(told).toEqual(
    contents.flatMap(({ byteLength }, index) => [`read ${index}: ${byteLength}`, `open ${index}: handle ${index}`]),
  );
  for (const [index, place] of places.entries()) {
    expect(place.subarray(0, 10).equals(Buffer.alloc(10))).toBe(true);
    expect(place.subarray(10).equals(contents[index] ?? Buffer.alloc(0))).toBe(true);
  }
});

it("requests to write go out whole, also when the window of the channel cuts them", () => {
  const pieces: Buffer[] = [];
  const sftp = session((data) => pieces.push(Buffer.from(data)));
  sftp.outgoing.window = 20_000;
  const contents = [Buffer.alloc(30_000, "a content "), Buffer.alloc(10_000, "another "), Buffer.alloc(5, "short")];
  for (const content of contents) sftp.write(Buffer.from("h"), content, 0, content.byteLength, 7, () => {});
  expect(Buffer.concat(pieces).byteLength).toBe(20_000);
  sftp.outgoing.window = 2 ** 31;
  sftp._chunkcb();
  const sent = Buffer.concat(pieces);
  const expected = contents.map((content, index) =>
    packet(6, number(index), text(Buffer.from("h")), number(0), number(7), text(content)),
  );
  expect(sent.equals(Buffer.concat(expected))).toBe(true);
});

it("an answer that breaks off with the session fails", () => {
  const sftp = session();
  const told: string[] = [];
  const place = Buffer.alloc(30_000);
  sftp.read(Buffer.from("h"), place, 0, place.byteLength, 0, (error) => {
    told.push(error instanceof Error ? "failed" : "read");
  });
  sftp.push(packet(103, number(0), text(Buffer.alloc(30_000))).subarray(0, 20_000));
  expect(told).toEqual([]);
  sftp.push(null);
  expect(told).toEqual(["failed"]);
});
