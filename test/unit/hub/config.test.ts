import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { parseHubConfig } from "../../../src/hub/config.ts";

const preset = parse(readFileSync(new URL("../../../config/nmdc-preset.yaml", import.meta.url), "utf8")) as unknown;
const store = { kind: "sqlite", path: "hub.db" };

test("defaults are closed: no anonymous reads, no anonymous types, a rate limit", () => {
  const config = parseHubConfig({ store }, () => ({}));
  expect(config.compat).toEqual({ anonymous_types: false, anonymous_reads: false });
  expect(config.limits).toEqual({ body: 8 * 1024 * 1024, requests_per_minute: 1200 });
  expect(config.tokens).toEqual({ lifetime: 86_400_000, rotate_keys_after: 30 * 86_400_000 });
  expect(config.listen).toEqual({ host: "127.0.0.1", port: 8900 });
});

test("the NMDC preset opens what its clients need, unless the settings say no", () => {
  const open = parseHubConfig({ store, presets: ["nmdc"] }, () => preset);
  expect(open.compat).toEqual({ anonymous_types: true, anonymous_reads: true });
  const closed = parseHubConfig({ store, presets: ["nmdc"], compat: { anonymous_types: false } }, () => preset);
  expect(closed.compat).toEqual({ anonymous_types: false, anonymous_reads: true });
});

test("the NMDC preset is whole: triggers name types and workflows, typecodes are words", () => {
  const config = parseHubConfig({ store, presets: ["nmdc"] }, () => preset);
  const types = config.object_types.map((one) => one.id);
  expect(config.workflows).toHaveLength(19);
  expect(config.triggers).toHaveLength(14);
  for (const trigger of config.triggers) expect(types).toContain(trigger.object_type);
  expect(config.typecodes["nmdc:DataObject"]).toBe("dobj");
  for (const code of Object.values(config.typecodes)) expect(code).toMatch(/^[a-z]{3,6}$/);
});

test("own registries come after a preset and win over it", () => {
  const workflows = [{ id: "test", name: "mine" }, { id: "own" }];
  const config = parseHubConfig({ store, presets: ["nmdc"], workflows }, () => preset);
  expect(config.workflows.filter((one) => one.id === "test").map((one) => one.name)).toEqual(["mine"]);
  expect(config.workflows.at(-1)?.id).toBe("own");
});

test("every fault is named at once", () => {
  const bad = { store: { kind: "oracle" }, colour: 1, tokens: { lifetime: "soon" }, listen: { port: -1 } };
  expect(() => parseHubConfig(bad, () => ({}))).toThrow(
    expect.objectContaining({
      code: "CONFIG",
      details: {
        problems: expect.arrayContaining([
          expect.stringMatching(/^tokens\.lifetime: 'soon'/),
          expect.stringMatching(/^listen\.port/),
          expect.stringMatching(/^store/),
          expect.stringMatching(/colour/),
        ]),
      },
    }),
  );
});
