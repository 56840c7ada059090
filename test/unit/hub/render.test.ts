import { expect, test } from "vitest";
import { projector, rendered } from "../../../src/hub/nmdc/render.ts";

const document = { id: "x", a: { b: 1, c: [{ d: 1, e: 2 }, { e: 3 }, 5, [{ d: 4 }]] }, name: null, list: [1, 2] };

test.each([
  ["a.b", { id: "x", a: { b: 1 } }],
  ["a.c.d", { id: "x", a: { c: [{ d: 1 }, {}, [{ d: 4 }]] } }],
  ["a,a.b", { id: "x", a: document.a }],
  ["a.b,a", { id: "x", a: document.a }],
  ["name, list", { id: "x", name: null, list: [1, 2] }],
  ["list.x,id.y", { id: "x", list: [] }],
  ['"id, name"', { id: "x" }],
  ["__proto__,constructor", { id: "x" }],
  [",", { id: "x" }],
])("projects %s", (text, expected) => {
  expect(projector(text)?.(document)).toEqual(expected);
});

test("no projection without one", () => {
  expect(projector(undefined)).toBeUndefined();
  expect(projector("")).toBeUndefined();
});

test("own times lose their zone, data that looks like a time does not", () => {
  const at = { $date: Date.parse("2026-03-01T10:00:00Z") };
  const job = rendered("jobs", { created_at: at, workflow: { id: "w", created_at: at }, config: { when: at } });
  expect(job).toEqual({
    created_at: "2026-03-01T10:00:00",
    workflow: { id: "w", created_at: "2026-03-01T10:00:00" },
    config: { when: at },
  });
  expect(rendered("jobs", { created_at: "2026-03-01T10:00:00.123456Z" })).toEqual({
    created_at: "2026-03-01T10:00:00.123456Z",
  });
});
