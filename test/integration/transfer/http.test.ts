import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { describe, expect, test } from "vitest";
import { createHttpTransfer } from "../../../src/transfer/http/index.ts";
import type { HttpTransferOptions } from "../../../src/transfer/http/client.ts";
import { createLocalTransfer } from "../../../src/transfer/local/index.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { TransferEngine, TransferItem } from "../../../src/transfer/types.ts";
import { testCertificate, testKey } from "./certificate.ts";
import { answerFile, serve, store } from "./servers.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import {
  faultOf,
  impatientClock,
  item,
  namesBelow,
  request,
  sha256,
  startEngine,
  testContext,
  writeTree,
} from "./setup.ts";

const data = Buffer.alloc(700_000, "ACGTTGCA-reads-");
const etag = `"${sha256(data).slice(0, 12)}"`;

/** Answers with the test's own file unless another is given. */
function answer(incoming: IncomingMessage, response: ServerResponse, content: Buffer = data, tag: string = etag): void {
  answerFile(incoming, response, content, tag);
}

/** Sends the headers of the whole file and the first `bytes`, then breaks the connection. */
function cutAfter(incoming: IncomingMessage, response: ServerResponse, bytes: number): void {
  const range = /^bytes=(\d+)-/.exec(incoming.headers.range ?? "");
  const from = Number(range?.[1] ?? 0);
  response.writeHead(range ? 206 : 200, {
    etag,
    "content-length": data.byteLength - from,
    ...(range ? { "content-range": `bytes ${from}-${data.byteLength - 1}/${data.byteLength}` } : {}),
  });
  response.write(data.subarray(from, from + bytes), () => response.destroy());
}

interface Fetching {
  readonly directory: TemporaryDirectory;
  readonly engine: TransferEngine;
}

function start(
  directory: TemporaryDirectory,
  rules: readonly string[],
  http: Partial<HttpTransferOptions> = {},
  privates: readonly string[] = [],
): Fetching {
  const input = { sources: rules, destinations: rules, allow_private: privates };
  const policy = compilePolicy(input);
  const adapters = [createLocalTransfer({ policy }), createHttpTransfer({ policy, ...http })];
  return { directory, engine: startEngine({ policy: input, adapters }) };
}

async function fetchOne(
  fetching: Fetching,
  fields: Partial<TransferItem> & Pick<TransferItem, "source">,
  context = testContext(),
) {
  const items = [item({ target: "x", ...fields })];
  return await fetching.engine.run(request({ direction: "in", root: fetching.directory.join("in"), items }), context);
}

async function sendOne(fetching: Fetching, target: string, context = testContext()) {
  await writeTree(fetching.directory.path, { "work/r": data });
  const items = [item({ source: "r", target })];
  return await fetching.engine.run(
    request({ direction: "out", root: fetching.directory.join("work"), items }),
    context,
  );
}

describe("fetching", () => {
  test("a whole file, size and digest told by the server", async () => {
    await using server = await serve((incoming, response) => {
      response.setHeader("repr-digest", `sha-256=:${createHash("sha256").update(data).digest("base64")}:`);
      answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const outcome = await fetchOne(fetching, { source: `${server.url}a%20b/reads.fq?signature=secret` });
    expect(outcome.manifest).toMatchObject([
      { bytes: data.byteLength, sha256: sha256(data), verified: "digest", url: `${server.url}a%20b/reads.fq` },
    ]);
    expect(server.seen.map((one) => one.path)).toEqual(Array(2).fill("/a%20b/reads.fq?signature=secret"));
    expect(server.seen.every((one) => one.headers["accept-encoding"] === "identity")).toBe(true);
  });

  test("an empty file, and a server without HEAD", async () => {
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD") response.writeHead(403).end();
      else if (incoming.url === "/empty") {
        if (incoming.headers.range) response.writeHead(416, { "content-range": "bytes */0" }).end();
        else response.writeHead(200, { "content-length": 0 }).end();
      } else answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect((await fetchOne(fetching, { source: `${server.url}empty` })).manifest).toMatchObject([{ bytes: 0 }]);
    expect((await fetchOne(fetching, { source: `${server.url}full` })).manifest).toMatchObject([
      { bytes: data.byteLength, sha256: sha256(data), verified: "size" },
    ]);
  });

  test("goes on where a broken connection ended, with If-Range", async () => {
    await using server = await serve((incoming, response, count) => {
      if (incoming.method === "GET" && count < 3) cutAfter(incoming, response, 150_000);
      else answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const outcome = await fetchOne(fetching, { source: `${server.url}x` });
    expect(sha256(await readFile(directory.join("in/x")))).toBe(sha256(data));
    expect(outcome.movedBytes).toBeLessThan(data.byteLength);
    const last = server.seen.at(-1);
    expect(last?.headers["if-range"]).toBe(etag);
    expect(last?.headers.range).toMatch(/^bytes=[1-9]\d+-$/);
    expect(await namesBelow(directory.join("in"))).toEqual(["x"]);
  });

  test.each(["new ETag with If-Range respected", "new ETag in a 206"])(
    "starts over when the file changed: %s",
    async (how) => {
      const newer = Buffer.alloc(data.byteLength, "the newer file ");
      await using server = await serve((incoming, response, count) => {
        if (incoming.method === "HEAD")
          answer(incoming, response, count === 0 ? data : newer, count === 0 ? etag : '"new"');
        else if (count === 0) cutAfter(incoming, response, 200_000);
        else {
          if (how.endsWith("206")) delete incoming.headers["if-range"];
          answer(incoming, response, newer, '"new"');
        }
      });
      await using directory = await temporaryDirectory();
      const fetching = start(directory, [server.url]);
      await using _engine = fetching.engine;
      await fetchOne(fetching, { source: `${server.url}x` });
      expect(sha256(await readFile(directory.join("in/x")))).toBe(sha256(newer));
      expect(await namesBelow(directory.join("in"))).toEqual(["x"]);
    },
  );

  test("a server that ignores ranges is read again from the start without harm", async () => {
    await using server = await serve((incoming, response, count) => {
      if (incoming.method === "GET" && count === 0) return cutAfter(incoming, response, 300_000);
      delete incoming.headers.range;
      return answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    await fetchOne(fetching, { source: `${server.url}x` });
    expect(sha256(await readFile(directory.join("in/x")))).toBe(sha256(data));
  });

  test("never ends well when the server sends less than it lists", async () => {
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD") response.writeHead(200, { "content-length": 10 }).end();
      else response.writeHead(200).end("short");
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const context = testContext();
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}x` }, context));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { tries: 5 } });
    expect(await namesBelow(directory.join("in"))).toEqual([]);
  });

  test("a body that ends with the connection is taken with a promised digest only", async () => {
    const server = createNetServer((socket) => {
      socket.once("data", (text: Buffer) => {
        const body = text.toString("latin1").startsWith("HEAD") ? "" : "the whole file";
        socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${body}`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      await using directory = await temporaryDirectory();
      const fetching = start(directory, [url]);
      await using _engine = fetching.engine;
      const fault = await faultOf(fetchOne(fetching, { source: `${url}x` }));
      expect(fault).toMatchObject({ code: "TRANSFER_REFUSED" });
      expect(fault.hint).toContain("sha256");
      const outcome = await fetchOne(fetching, { source: `${url}x`, expectedSha256: sha256("the whole file") });
      expect(outcome.manifest).toMatchObject([{ verified: "digest" }]);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test("a server that answers HEAD with length 0 is asked again", async () => {
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD") response.writeHead(200, { "content-length": 0 }).end();
      else answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect((await fetchOne(fetching, { source: `${server.url}x` })).manifest).toMatchObject([
      { bytes: data.byteLength },
    ]);
  });

  test("the path reaches the server encoded as it was written", async () => {
    await using server = await serve((incoming, response) => answer(incoming, response));
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [`${server.url}a/`]);
    await using _engine = fetching.engine;
    await fetchOne(fetching, { source: `${server.url}a/b%2Bc+d%3d(e)'?x=%2B+'` });
    expect(server.seen[0]?.path).toBe("/a/b%2Bc+d%3d(e)'?x=%2B+%27");
  });

  test("a login page instead of the data is a digest mismatch after one redo", async () => {
    await using server = await serve((_incoming, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<html>log in</html>");
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}x`, expectedSha256: sha256(data) }));
    expect(fault).toMatchObject({
      code: "DIGEST_MISMATCH",
      details: { expected: sha256(data), actual: sha256("<html>log in</html>") },
    });
    expect(server.seen.filter((one) => one.method === "GET")).toHaveLength(2);
    expect(await namesBelow(directory.join("in"))).toEqual([]);
  });

  test.each([
    ["content-md5", createHash("md5").update("other").digest("base64")],
    ["repr-digest", `sha-256=:${createHash("sha256").update("other").digest("base64")}:`],
    ["digest", `SHA-256=${createHash("sha256").update("other").digest("base64")}`],
    ["content-digest", `sha-512=:${createHash("sha512").update("other").digest("base64")}:`],
  ])("a wrong %s is noticed", async (name, value) => {
    await using server = await serve((incoming, response) => {
      response.setHeader(name, value);
      answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect(await faultOf(fetchOne(fetching, { source: `${server.url}x` }))).toMatchObject({ code: "DIGEST_MISMATCH" });
  });

  test("503 and 429 are tried again after the time that the server asks for", async () => {
    await using server = await serve((incoming, response, count) => {
      if (incoming.method === "HEAD" && count === 0) response.writeHead(503, { "retry-after": "7" }).end("busy");
      else if (incoming.method === "GET" && count === 0) response.writeHead(429, { "retry-after": "11" }).end();
      else answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const clock = impatientClock();
    await fetchOne(fetching, { source: `${server.url}x` }, testContext({ clock }));
    expect(clock.waits).toHaveLength(2);
    expect(clock.waits[0]).toBeGreaterThanOrEqual(7_000);
    expect(clock.waits[0]).toBeLessThanOrEqual(8_400);
    expect(clock.waits[1]).toBeGreaterThanOrEqual(11_000);
  });

  test.each([
    [404, { missing: true }],
    [403, { status: 403 }],
    [451, { status: 451 }],
  ])("%i is refused at once", async (status, details) => {
    await using server = await serve((_incoming, response) => response.writeHead(status).end());
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const clock = impatientClock();
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}x?token=secret` }, testContext({ clock })));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details });
    expect(fault.message).not.toContain("secret");
    expect(clock.waits).toEqual([]);
  });

  test("an unpacked name that arrives packed is refused", async () => {
    await using server = await serve((_incoming, response) => {
      response.writeHead(200, { "content-encoding": "gzip", "content-length": 4 }).end("....");
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect(await faultOf(fetchOne(fetching, { source: `${server.url}x.txt` }))).toMatchObject({
      code: "TRANSFER_REFUSED",
    });
    expect((await fetchOne(fetching, { source: `${server.url}x.gz` })).manifest).toMatchObject([{ bytes: 4 }]);
  });

  test("a body beyond max_size ends early, also without a length", async () => {
    let sent = 0;
    await using server = await serve((incoming, response) => {
      response.writeHead(200);
      if (incoming.method === "HEAD") return void response.end();
      const more = (): void => {
        while (!response.destroyed && response.write(data)) sent += data.byteLength;
      };
      response.on("drain", more);
      return more();
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}x`, maxBytes: 1_000_000 }));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details: { max_bytes: 1_000_000 } });
    expect(sent).toBeLessThan(50_000_000);
    expect(await namesBelow(directory.join("in"))).toEqual([]);
  });

  test("silence ends a try, and the next one goes on", async () => {
    await using server = await serve((incoming, response, count) => {
      if (incoming.method === "GET" && count === 0) {
        response.writeHead(200, { etag, "content-length": data.byteLength });
        response.write(data.subarray(0, 100_000)); // and then nothing
      } else answer(incoming, response);
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url], { idleTimeoutMs: 300 });
    await using _engine = fetching.engine;
    const outcome = await fetchOne(fetching, { source: `${server.url}x` });
    expect(outcome.manifest).toMatchObject([{ sha256: sha256(data) }]);
    expect(server.seen.at(-1)?.headers.range).toMatch(/^bytes=\d+-$/);
  });

  test("abort ends promptly and leaves only a partial file", async () => {
    await using server = await serve((incoming, response) => {
      response.writeHead(200, { etag, "content-length": data.byteLength });
      if (incoming.method === "HEAD") response.end();
      else response.write(data.subarray(0, 200_000));
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const stopper = new AbortController();
    const items = [item({ source: `${server.url}x`, target: "x" })];
    const stopping = request({
      direction: "in",
      root: directory.join("in"),
      items,
      onProgress: (progress) => {
        if (progress.bytes > 0) stopper.abort();
      },
    });
    const begun = performance.now();
    expect(await faultOf(fetching.engine.run(stopping, testContext({ signal: stopper.signal })))).toMatchObject({
      code: "CANCELLED",
    });
    expect(performance.now() - begun).toBeLessThan(5_000);
    const names = await namesBelow(directory.join("in"));
    expect(names).toHaveLength(1);
    expect(names[0]).toMatch(/^\.part-/);
  });

  test("directories are refused with a way out", async () => {
    await using directory = await temporaryDirectory();
    const fetching = start(directory, ["http://data.example.org/"]);
    await using _engine = fetching.engine;
    const fault = await faultOf(fetchOne(fetching, { source: "http://data.example.org/d/", kind: "directory" }));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(fault.hint).toContain("kind 'file'");
  });
});

describe("redirects and addresses", () => {
  test("an allowed redirect is followed; credentials stay with their origin", async () => {
    await using store = await serve((incoming, response) => answer(incoming, response));
    await using server = await serve((_incoming, response) =>
      response.writeHead(302, { location: `${store.url}real?sig=1` }).end(),
    );
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url, store.url], {
      headersFor: async () => ({ authorization: "Bearer secret" }),
    });
    await using _engine = fetching.engine;
    const outcome = await fetchOne(fetching, { source: `${server.url}x` });
    expect(outcome.manifest).toMatchObject([{ sha256: sha256(data), url: `${server.url}x` }]);
    expect(server.seen.every((one) => one.headers.authorization === "Bearer secret")).toBe(true);
    expect(store.seen.every((one) => one.headers.authorization === undefined)).toBe(true);
  });

  test("a loop ends", async () => {
    await using server = await serve((incoming, response) =>
      response.writeHead(301, { location: `${incoming.url ?? ""}a` }).end(),
    );
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect(await faultOf(fetchOne(fetching, { source: `${server.url}x` }))).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(server.seen).toHaveLength(6);
  });

  test.each([
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://2852039166/",
    "http://localhost:1/",
    "//10.0.0.1/x",
    "http://user:password@127.0.0.1/",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
  ])("a redirect to %s is refused by the policy", async (location) => {
    await using server = await serve((_incoming, response) => response.writeHead(302, { location }).end());
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url, "http://*/"]);
    await using _engine = fetching.engine;
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}allowed` }));
    expect(fault.code).toBe("POLICY");
    expect(fault.message).not.toContain("password@");
    expect(server.seen).toHaveLength(1);
  });

  test("a public name with a private address is refused after DNS, unless it is named", async () => {
    await using server = await serve((incoming, response) => answer(incoming, response));
    await using directory = await temporaryDirectory();
    const resolve = async () => [{ address: "127.0.0.1", family: 4 }];
    const url = `http://data.example.org:${server.port}/`;
    const refusing = start(directory, [url], { resolve });
    await using _refusing = refusing.engine;
    const fault = await faultOf(fetchOne(refusing, { source: `${url}x` }));
    expect(fault).toMatchObject({ code: "POLICY", details: { host: "data.example.org", address: "127.0.0.1" } });
    expect(server.seen).toEqual([]);
    for (const named of ["127.0.0.1", "127.0.0.0/8", "data.example.org"]) {
      const fetching = start(directory, [url], { resolve }, [named]);
      await using _engine = fetching.engine;
      expect((await fetchOne(fetching, { source: `${url}x` })).manifest).toMatchObject([{ sha256: sha256(data) }]);
    }
  });

  test("one bad address among good ones refuses the name", async () => {
    await using server = await serve((incoming, response) => answer(incoming, response));
    await using directory = await temporaryDirectory();
    const resolve = async () => [
      { address: "127.0.0.1", family: 4 },
      { address: "169.254.169.254", family: 4 },
    ];
    const url = `http://data.example.org:${server.port}/`;
    const fetching = start(directory, [url], { resolve }, ["127.0.0.1"]);
    await using _engine = fetching.engine;
    expect(await faultOf(fetchOne(fetching, { source: `${url}x` }))).toMatchObject({ code: "POLICY" });
    expect(server.seen).toEqual([]);
  });

  test("localhost works when a rule names it, and not under a wildcard", async () => {
    await using server = await serve((incoming, response) => answer(incoming, response));
    await using directory = await temporaryDirectory();
    const url = `http://localhost:${server.port}/`;
    const named = start(directory, [url]);
    await using _named = named.engine;
    await fetchOne(named, { source: `${url}x` });
    const any = start(directory, [`http://*:${server.port}/`]);
    await using _any = any.engine;
    expect(await faultOf(fetchOne(any, { source: `${url}x` }))).toMatchObject({ code: "POLICY" });
  });

  test("a closed port is TRANSFER after all tries", async () => {
    await using directory = await temporaryDirectory();
    const server = await serve((_incoming, response) => response.end());
    await server[Symbol.asyncDispose]();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}x` }));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { errno: "ECONNREFUSED", tries: 5 } });
  });
});

describe("certificates", () => {
  async function serveTls(): Promise<{ readonly url: string } & AsyncDisposable> {
    const server = createTlsServer({ key: testKey, cert: testCertificate }, (incoming, response) =>
      answer(incoming, response),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
      url: `https://localhost:${(server.address() as AddressInfo).port}/`,
      [Symbol.asyncDispose]: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    };
  }
  const resolve = async () => [{ address: "127.0.0.1", family: 4 }];

  test("an unknown authority is refused at once with the way out", async () => {
    await using server = await serveTls();
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url], { resolve });
    await using _engine = fetching.engine;
    const clock = impatientClock();
    const fault = await faultOf(fetchOne(fetching, { source: `${server.url}x` }, testContext({ clock })));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(fault.hint).toContain("NODE_EXTRA_CA_CERTS");
    expect(clock.waits).toEqual([]);
  });

  test("a trusted one is fetched from, but not under another name", async () => {
    await using server = await serveTls();
    await using directory = await temporaryDirectory();
    const other = server.url.replace("localhost", "data.example.org");
    const fetching = start(directory, [server.url, other], { ca: testCertificate, resolve }, ["127.0.0.1"]);
    await using _engine = fetching.engine;
    expect((await fetchOne(fetching, { source: `${server.url}x` })).manifest).toMatchObject([{ sha256: sha256(data) }]);
    expect(await faultOf(fetchOne(fetching, { source: `${other}x` }))).toMatchObject({
      code: "TRANSFER_REFUSED",
      details: { errno: "ERR_TLS_CERT_ALTNAME_INVALID" },
    });
  });
});

describe("sending", () => {
  test("PUTs with length and digest, and compares the size", async () => {
    await using server = await store();
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("work"));
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const outcome = await sendOne(fetching, `${server.url}up/r?sig=secret`);
    expect(outcome.manifest).toMatchObject([{ verified: "size", url: `${server.url}up/r`, sha256: sha256(data) }]);
    expect(sha256(server.kept.get("/up/r?sig=secret") ?? "")).toBe(sha256(data));
    const put = server.seen.find((one) => one.method === "PUT");
    expect(put?.headers["content-length"]).toBe(String(data.byteLength));
    expect(put?.headers["repr-digest"]).toBe(`sha-256=:${createHash("sha256").update(data).digest("base64")}:`);
  });

  test("a PUT that breaks in the middle, and one that is answered 500, are done again", async () => {
    await using server = await store((count, incoming, response) => {
      if (count === 0) incoming.once("data", () => incoming.socket.destroy());
      else if (count === 1) incoming.resume().on("end", () => response.writeHead(500).end());
      return count < 2;
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    await sendOne(fetching, `${server.url}r`);
    expect(sha256(server.kept.get("/r") ?? "")).toBe(sha256(data));
    expect(server.seen.filter((one) => one.method === "PUT")).toHaveLength(3);
  });

  test("a store that keeps less than was sent is noticed", async () => {
    await using server = await store((_count, incoming, response) => {
      incoming.resume().on("end", () => {
        server.kept.set("/r", Buffer.from("part"));
        response.writeHead(200).end();
      });
      return true;
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    const fault = await faultOf(sendOne(fetching, `${server.url}r`));
    expect(fault.code).toBe("TRANSFER");
    expect(fault.message).toContain(`has 4 bytes at its destination, ${data.byteLength} were sent`);
  });

  test("a signed URL without HEAD is accepted and says so", async () => {
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD") response.writeHead(403).end();
      else incoming.resume().on("end", () => response.writeHead(200).end());
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect((await sendOne(fetching, `${server.url}r`)).manifest).toMatchObject([{ verified: "accepted" }]);
  });

  test("307 is followed with the body, 302 and destinations outside the policy are refused", async () => {
    await using target = await store();
    let location = `${target.url}moved`;
    let status = 307;
    await using server = await serve((incoming, response) => {
      incoming.resume();
      if (incoming.method === "HEAD") response.writeHead(307, { location }).end();
      else response.writeHead(status, { location }).end();
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url, target.url]);
    await using _engine = fetching.engine;
    await sendOne(fetching, `${server.url}r`);
    expect(sha256(target.kept.get("/moved") ?? "")).toBe(sha256(data));
    status = 302;
    expect(await faultOf(sendOne(fetching, `${server.url}r`))).toMatchObject({ code: "TRANSFER_REFUSED" });
    status = 308;
    location = "http://127.0.0.1:1/elsewhere";
    expect(await faultOf(sendOne(fetching, `${server.url}r`))).toMatchObject({ code: "POLICY" });
  });

  test("403 is refused at once", async () => {
    await using server = await serve((incoming, response) => {
      incoming.resume().on("end", () => response.writeHead(403).end());
    });
    await using directory = await temporaryDirectory();
    const fetching = start(directory, [server.url]);
    await using _engine = fetching.engine;
    expect(await faultOf(sendOne(fetching, `${server.url}r`))).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(server.seen).toHaveLength(1);
  });
});
