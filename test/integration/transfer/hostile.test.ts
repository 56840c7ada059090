import { existsSync } from "node:fs";
import { mkdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { openDirectoryBelow, openFileBelow } from "../../../src/transfer/paths.ts";
import { fuzz } from "../../helpers/fuzz.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { serve } from "./servers.ts";
import {
  digestTree,
  faultOf,
  fileUrl,
  item,
  namesBelow,
  request,
  startEngine,
  testContext,
  writeTree,
} from "./setup.ts";

/** Two versions of a file that differ in every byte. */
const versions = [
  { content: Buffer.alloc(100_000, "A"), etag: '"a"' },
  { content: Buffer.alloc(100_000, "b"), etag: '"b"' },
] as const;

interface Behaviour {
  readonly version: 0 | 1;
  readonly kind:
    | "good"
    | "cut"
    | "status"
    | "ignores-ranges"
    | "ignores-if-range"
    | "wrong-range"
    | "no-validator"
    | "reset";
  readonly at: number;
}

const behaviour: fc.Arbitrary<Behaviour> = fc.record({
  version: fc.constantFrom(0, 1),
  kind: fc.constantFrom(
    "good",
    "cut",
    "cut",
    "cut",
    "status",
    "ignores-ranges",
    "ignores-if-range",
    "wrong-range",
    "no-validator",
    "reset",
  ),
  at: fc.nat(99_999),
});

function behave(incoming: IncomingMessage, response: ServerResponse, { version, kind, at }: Behaviour): void {
  const { content, etag } = versions[version];
  if (kind === "reset") return void incoming.socket.destroy();
  if (kind === "status") return void response.writeHead(at % 2 === 0 ? 503 : 500).end("an error page");
  const range = /^bytes=(\d+)-/.exec(incoming.headers.range ?? "");
  const same = kind === "ignores-if-range" || (incoming.headers["if-range"] ?? etag) === etag;
  const first = range && same && kind !== "ignores-ranges" ? Number(range[1]) : undefined;
  const from = first ?? 0;
  const body = content.subarray(from);
  const told = kind === "wrong-range" ? Math.max(0, from - 1) : from;
  response.writeHead(first === undefined ? 200 : 206, {
    "content-length": body.byteLength,
    ...(kind === "no-validator" ? {} : { etag }),
    ...(first === undefined
      ? {}
      : { "content-range": `bytes ${told}-${content.byteLength - 1}/${content.byteLength}` }),
  });
  if (incoming.method === "HEAD") response.end();
  else if (kind === "cut") response.write(body.subarray(0, at), () => response.destroy());
  else response.end(body);
}

test("whatever a server does, the final name holds one whole version or nothing", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(behaviour, { minLength: 1, maxLength: 12 }), async (script) => {
      let turn = 0;
      await using server = await serve((incoming, response) => {
        behave(incoming, response, script[turn++] ?? { version: 1, kind: "good", at: 0 });
      });
      await using directory = await temporaryDirectory();
      await using engine = startEngine({ policy: { sources: [server.url], destinations: [] } });
      const items = [item({ source: `${server.url}x`, target: "x" })];
      const staged = request({ direction: "in", root: directory.join("in"), items });
      for (let run = 0; run < 3; run++) {
        try {
          await engine.run(staged, testContext());
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
          expect(error).toMatchObject({ code: "TRANSFER" });
          expect(existsSync(directory.join("in/x"))).toBe(false);
          continue;
        }
        const got = await readFile(directory.join("in/x"));
        expect(versions.some(({ content }) => content.equals(got))).toBe(true);
        expect(await namesBelow(directory.join("in"))).toEqual(["x"]);
        return;
      }
    }),
    fuzz(250),
  );
});

test("swapping a directory for a link while files arrive leads nothing outside", async () => {
  await using directory = await temporaryDirectory();
  const names = Array.from({ length: 150 }, (_, index) => `f${index}`);
  await writeTree(directory.join("data"), Object.fromEntries(names.map((name) => [name, "data"])));
  await mkdir(directory.join("outside"));
  const root = directory.join("in");
  await mkdir(directory.join("in/sub"), { recursive: true });
  await symlink(directory.join("outside"), directory.join("in/link"));
  const rules = [fileUrl(directory.join("data/"))];
  await using engine = startEngine({ policy: { sources: rules, destinations: [] } });
  let swapping = true;
  const swaps = (async () => {
    let count = 0;
    for (; swapping; count++) {
      await rename(`${root}/sub`, `${root}/aside`).catch(() => {});
      await rename(`${root}/link`, `${root}/sub`).catch(() => {});
      await rename(`${root}/sub`, `${root}/link`).catch(() => {});
      await rename(`${root}/aside`, `${root}/sub`).catch(() => {});
    }
    return count;
  })();
  const items = [item({ kind: "directory", source: rules[0] ?? "", target: "sub" })];

  for (let run = 0; run < 5; run++) {
    const staging = engine.run(request({ direction: "in", root, items }), testContext());
    await staging.catch((error: unknown) => expect(error).toBeInstanceOf(Fault));
  }
  swapping = false;
  expect(await swaps).toBeGreaterThan(0);
  expect(await namesBelow(directory.join("outside"))).toEqual([]);
});

test("another process that swaps directories and files for links gains nothing to read or write outside", async () => {
  await using directory = await temporaryDirectory();
  const root = directory.join("root");
  await writeTree(directory.path, { "root/a/b/inside": "inside", "root/file": "inside", "outside/secret": "secret" });
  await writeTree(directory.path, { "outside/b/inside": "secret", "outside/inside": "secret" });
  const before = await digestTree(directory.join("outside"));
  const swapper = join(import.meta.dirname, "swapper.ts");
  await using other = await Program.start(process.execPath, [swapper, root, directory.join("outside"), "1500"], {
    input: "",
  });
  await other.output(/swapping/);
  const outcomes = { read: 0, written: 0, refused: 0 };
  const refused = (error: unknown): void => {
    outcomes.refused++;
    if (!(error instanceof Fault)) expect(["ENOENT", "ENOTDIR"]).toContain((error as NodeJS.ErrnoException).code);
    else expect(error.code).toBe("UNSAFE_PATH");
  };
  for (let turn = 0; other.running; turn++) {
    const segments = turn % 2 === 0 ? ["a", "b", "inside"] : ["file"];
    try {
      await using handle = await openFileBelow(root, segments, "source");
      expect(await handle.readFile("utf8")).toBe("inside");
      outcomes.read++;
    } catch (error) {
      refused(error);
    }
    try {
      await using opened = await openDirectoryBelow(root, ["a", "b"], { create: false, field: "target" });
      await writeFile(opened.at(`new${turn % 50}`), "inside", { flag: "w" });
      outcomes.written++;
    } catch (error) {
      refused(error);
    }
  }
  const [, swaps = "0"] = await other.output(/(\d+) swaps/);
  expect(Number(swaps)).toBeGreaterThan(100);
  expect(Math.min(outcomes.read, outcomes.written, outcomes.refused)).toBeGreaterThan(0);
  expect(await digestTree(directory.join("outside"))).toEqual(before);
});

test.each(["the file", "its directory"])(
  "an output selected as a file is not followed when %s is a link by the time it is sent",
  async (which) => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.path, {
      "work/first": "1",
      "work/sub/r": "result",
      "secret/r": "secret",
      "out/.keep": "",
    });
    const rules = [fileUrl(directory.join("out/"))];
    await using engine = startEngine({ policy: { sources: [], destinations: rules }, filesPerHost: 1 });
    const swapped = which === "the file" ? "sub/r" : "sub";
    const sent = request({
      direction: "out",
      root: directory.join("work"),
      items: [
        item({ name: "first", source: "first", target: `${rules[0] ?? ""}first` }),
        item({ name: "second", source: "sub/r", target: `${rules[0] ?? ""}r` }),
      ],
      onFile: async () => {
        await rename(directory.join("work", swapped), directory.join("work/aside"));
        await symlink(directory.join(swapped === "sub" ? "secret" : "secret/r"), directory.join("work", swapped));
      },
    });
    expect(await faultOf(engine.run(sent, testContext()))).toMatchObject({ code: "UNSAFE_PATH" });
    expect(await namesBelow(directory.join("out"))).toEqual([".keep", "first"]);
  },
);

test("a listing that names files outside its directory is refused", async () => {
  await using directory = await temporaryDirectory();
  const rules = [fileUrl(directory.join("data/"))];
  for (const path of ["../../escape", "/etc/passwd", "a/../../b", "x\0y"]) {
    const lying = {
      kind: "lying",
      schemes: ["file"],
      capabilities: { resume: false, list: true, write: false, digest: false },
      probe: async () => ({ ok: true, version: "1" }) as const,
      list: async () => [{ path, bytes: 1, mtimeMs: undefined, version: undefined }],
      read: async () =>
        (async function* () {
          yield Buffer.from("x");
        })(),
      write: async () => {},
      verify: async () => undefined,
      [Symbol.asyncDispose]: async () => {},
    };
    await using engine = startEngine({ policy: { sources: rules, destinations: [] }, adapters: [lying] });
    const items = [item({ kind: "directory", source: rules[0] ?? "", target: "d" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext()),
    );
    expect(fault.code).toBe("UNSAFE_PATH");
  }
  expect(await namesBelow(directory.path)).toEqual(["job", "job/in"]);
});
