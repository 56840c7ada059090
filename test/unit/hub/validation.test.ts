import { expect, test } from "vitest";
import { z } from "zod";
import { HttpProblem } from "../../../src/hub/problem.ts";
import { validate, type Where } from "../../../src/hub/validation.ts";
import { jobQuerySchema } from "../../../src/wire/user-api.ts";

function entriesOf(schema: z.ZodType, value: unknown, where: Where): unknown {
  try {
    return validate(schema, value, where);
  } catch (error) {
    if (error instanceof HttpProblem) return error.detail;
    throw error;
  }
}

test("a wrong word of a list of words names the words that are allowed, alone or among several", () => {
  expect(entriesOf(jobQuerySchema, { status: "NOPE" }, "query")).toMatchObject([
    { type: "enum", loc: ["query", "status"], input: "NOPE", msg: expect.stringMatching(/'PENDING'.*or 'CANCELLED'/) },
  ]);
  expect(entriesOf(jobQuerySchema, { status: ["FAILED", "NOPE"] }, "query")).toMatchObject([
    { type: "enum", loc: ["query", "status", 1], input: "NOPE", msg: expect.stringMatching(/'PENDING'/) },
  ]);
});

test("a number of a query that is none is told as in the contract", () => {
  expect(entriesOf(jobQuerySchema, { limit: "many" }, "query")).toMatchObject([
    { type: "int_parsing", loc: ["query", "limit"], input: "many" },
  ]);
});

test("of alternatives the one that fits best is explained", () => {
  const schema = z.object({ of: z.union([z.string(), z.object({ id: z.string().min(1) })]) });
  expect(entriesOf(schema, { of: { id: "" } }, "body")).toMatchObject([
    { type: "string_too_short", loc: ["body", "of", "id"], input: "" },
  ]);
  expect(entriesOf(schema, { of: 5 }, "body")).toMatchObject([{ type: "string_type", loc: ["body", "of"], input: 5 }]);
});

test("times, patterns and names of a mapping are refused in words", () => {
  expect(entriesOf(jobQuerySchema, { since: "yesterday" }, "query")).toMatchObject([
    { loc: ["query", "since"], input: "yesterday", msg: expect.stringContaining("2026-11-20T08:00:00Z") },
  ]);
  const schema = z.object({ name: z.string().regex(/^[a-z]+$/), tags: z.record(z.string().min(1), z.string()) });
  expect(entriesOf(schema, { name: "A", tags: { "": "x" } }, "body")).toMatchObject([
    { type: "string_pattern_mismatch", loc: ["body", "name"], msg: "String should match pattern '^[a-z]+$'" },
    { type: "string_too_short", loc: ["body", "tags", "", "[key]"], input: "" },
  ]);
});
