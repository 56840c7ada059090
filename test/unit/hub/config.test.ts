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

test("of equal ids the settings win, then the preset named first", () => {
  const presets: Readonly<Record<string, unknown>> = {
    one: {
      workflows: [
        { id: "a", name: "of one" },
        { id: "b", name: "of one" },
      ],
    },
    two: {
      workflows: [
        { id: "b", name: "of two" },
        { id: "c", name: "of two" },
      ],
    },
  };
  const input = { store, presets: ["one", "two"], workflows: [{ id: "a", name: "mine" }] };
  const { workflows } = parseHubConfig(input, (name) => presets[name]);
  expect(Object.fromEntries(workflows.map((one) => [one.id, one.name]))).toEqual({
    a: "mine",
    b: "of one",
    c: "of two",
  });
});

test("a trigger that settings and preset both have is one", () => {
  const trigger = { object_type: "reads", workflow: "a" };
  const registry = { workflows: [{ id: "a" }], object_types: [{ id: "reads" }], triggers: [trigger] };
  expect(parseHubConfig({ store, presets: ["one"], triggers: [trigger] }, () => registry).triggers).toHaveLength(1);
});

test("settings whose triggers name what nobody knows, or stand there twice, start nothing", () => {
  const trigger = { object_type: "reads", workflow: "b" };
  const bad = { store, workflows: [{ id: "a" }], object_types: [{ id: "reads" }], triggers: [trigger, trigger] };
  const unknown = "workflow 'b' is neither in the file nor in its presets; allowed: a";
  expect(() => parseHubConfig(bad, () => ({}))).toThrow(
    expect.objectContaining({
      code: "CONFIG",
      details: {
        problems: [
          `triggers[0].workflow: ${unknown}`,
          `triggers[1].workflow: ${unknown}`,
          "triggers[1]: trigger 'reads--b' is there twice; allowed: each pair of object type and workflow once",
        ],
      },
    }),
  );
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
