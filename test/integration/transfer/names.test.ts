import { describe, expect, it } from "vitest";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { store } from "./servers.ts";
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

const names = ["a%2eb", "50%25", "x%2Fy", "%", "%zz", "%5C", "+ &;=~'()", "#?", "ünï", "[x]{a,b}*"];

/** There and back again by a URL of one scheme. */
async function thereAndBack(base: string, files: readonly string[]): Promise<void> {
  await using here = await temporaryDirectory();
  await writeTree(here.join("work"), Object.fromEntries(files.map((name) => [name, `content of ${name}`])));
  await using engine = startEngine({ policy: { sources: [base], destinations: [base] } });
  const out = [item({ kind: "directory", source: ".", target: base })];
  const sent = await engine.run(request({ direction: "out", root: here.join("work"), items: out }), testContext());
  const back = sent.manifest.map(({ path, url }) => item({ name: path, source: url, target: path }));
  await engine.run(request({ direction: "in", root: here.join("in"), items: back }), testContext());
  expect(await digestTree(here.join("in"))).toEqual(await digestTree(here.join("work")));
}

describe("names that URLs have to encode come and go as they are", () => {
  it("by file:, also those that would lead elsewhere if somebody decoded them twice", async () => {
    await using there = await temporaryDirectory();
    const all = [...names, "%2e%2e", "%2e%2e%2fup", "%00"];
    await thereAndBack(`${fileUrl(there.path)}/`, all);
    expect((await namesBelow(there.path)).toSorted()).toEqual(all.toSorted());
  });

  it("by http:, and those that would lead elsewhere are refused with the reason", async () => {
    await using server = await store();
    await thereAndBack(`${server.url}out/`, names);
    expect([...server.kept.keys()].map((path) => decodeURIComponent(path.slice("/out/".length))).toSorted()).toEqual(
      names.toSorted(),
    );
    const fault = await faultOf(thereAndBack(`${server.url}out/`, ["%2e%2e%2fup"]));
    expect(fault).toMatchObject({ code: "POLICY", message: expect.stringContaining("encoded twice") as unknown });
  });
});
