/** Bodies that are no jobs: refused with the place, and nothing is made of them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { startTestHub } from "./hub.ts";

const good = {
  workflow: "w",
  name: "n",
  config: { a: 1, deep: { b: ["x"] } },
  parameters: { p: 1 },
  tags: { team: "a" },
  parents: [],
  priority: 5,
};

const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    1e9,
    1e308,
    0.5,
    "",
    "NaN",
    "💥",
    "a\u202eb",
    "a\u0000b",
    "x".repeat(3_000),
    "__proto__",
    "../..",
    "-rf",
  ),
  fc.constantFrom<unknown>(
    [],
    {},
    [[[]]],
    { $where: "sleep(1)" },
    { $ne: null },
    { __proto__: 1 },
    Array.from({ length: 1_001 }, () => "p"),
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

test(
  "G11: a job with fields missing, of the wrong type, huge or odd is made whole or refused with the place",
  fuzzing,
  async () => {
    await using hub = await startTestHub("sqlite");
    const headers = { authorization: `Bearer ${await hub.userToken("submitter")}`, "content-type": "application/json" };
    await using admin = await hub.client("admin");
    await admin.registries.putWorkflow("w", { name: "w" });
    const count = async (): Promise<number> =>
      Number(
        (
          await hub.ctx.store.db
            .selectFrom("jobs")
            .select((f) => f.fn.countAll().as("n"))
            .executeTakeFirstOrThrow()
        ).n,
      );
    let made = 0;
    let refused = 0;
    const change = fc.tuple(
      fc.constantFrom(...Object.keys(good), "extra", "site", "owner", "idempotency_key", "status"),
      fc.boolean(),
      odd,
    );
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 2 }), async (changes) => {
        const body: Record<string, unknown> = structuredClone(good);
        for (const [key, drop, value] of changes) {
          if (drop) delete body[key];
          else body[key] = value;
        }
        const before = await count();
        const answer = await fetch(`${hub.url}/siteagent/v1/jobs`, {
          method: "POST",
          headers,
          body: JSON.stringify(body),
        });
        const json = (await answer.json()) as { detail?: unknown; id?: string };
        const after = await count();
        if (answer.status < 300) {
          made++;
          expect(after - before).toBeLessThanOrEqual(1);
        } else {
          refused++;
          expect([400, 403, 404, 409, 413, 422], JSON.stringify(json)).toContain(answer.status);
          expect(JSON.stringify(json.detail).length).toBeGreaterThan(4);
          expect(after).toBe(before);
        }
      }),
      fuzz(250),
    );
    expect(Math.min(made, refused)).toBeGreaterThan(0);
  },
);
