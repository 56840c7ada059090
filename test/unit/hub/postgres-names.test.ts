import { describe, expect, it } from "vitest";
import { StatementNames } from "../../../src/hub/store/postgres-names.ts";

describe("names of statements", () => {
  const often = (names: StatementNames, text: string) => [1, 2, 3, 4].map(() => names.of(text));

  it("are given from the third time on, one for each text", () => {
    const names = new StatementNames();
    expect(often(names, "select a")).toEqual([undefined, undefined, "s0", "s0"]);
    expect(often(names, "select b")).toEqual([undefined, undefined, "s1", "s1"]);
    expect(names.of("select a")).toBe("s0");
  });

  it("are given to a hundred of them, however many there are", () => {
    const names = new StatementNames();
    const given = Array.from({ length: 150 }, (_, i) => often(names, `select ${i}`).at(-1));
    expect(new Set(given.filter((name) => name !== undefined)).size).toBe(100);
    expect(given.slice(100)).toEqual(Array.from({ length: 50 }));
    expect(names.of("select 99")).toBe("s99");
  });

  it("are not given for what came twice long ago", () => {
    const names = new StatementNames();
    names.of("select old");
    names.of("select old");
    for (let i = 0; i < 1_000; i++) names.of(`select ${i}`);
    expect(names.of("select old")).toBeUndefined();
  });

  it.for(["select * from orders", "  SELECT\n* FROM orders", 'insert into "users" values ($1) returning *'])(
    "are not given where a table says what the columns are: %s",
    (text) => expect(often(new StatementNames(), text)).toEqual(Array.from({ length: 4 })),
  );

  it("are given where rows of any columns are read on the way only", () => {
    const text = "UPDATE jobs SET name = c.name FROM (SELECT * FROM changes) AS c RETURNING 1";
    expect(often(new StatementNames(), text).at(-1)).toBe("s0");
  });
});
