import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { provenIn } from "../../../scripts/lib/proof.ts";
import { repository } from "../../../scripts/lib/run.ts";
import { areas, faultList } from "../../fault-list.ts";

describe("the faults that tests prove", () => {
  const list = [
    ...["C1", "C2"].map((id) => ({ id, fault: "", expected: "" })),
    { id: "BAL-7a", fault: "", expected: "" },
  ];

  it("are read off the beginnings of titles", () => {
    const text = ['it("C1', ": full\")\nit.each(x)('C2, BAL-7a", ": more')\nit('about C2')"].join("");
    expect([...provenIn("x.test.ts", text, list)]).toEqual(["C1", "C2", "BAL-7a"]);
  });

  it("must be in the list", () => {
    expect(() => provenIn("x.test.ts", ["it('C3", ": ')"].join(""), list)).toThrow("x.test.ts: no fault 'C3'");
  });

  it("are none of them open: each has a test, or a reason why it cannot occur", async () => {
    const page = await readFile(join(repository, "docs", "proof.md"), "utf8");
    const rows = page.split("\n").filter((line) => line.includes("**open**"));
    expect(rows.map((row) => row.split("|")[1]?.trim())).toEqual([]);
    for (const { id } of faultList) expect(page).toContain(`| ${id} `);
  });

  it("have each a number of its own in a known area", () => {
    expect(new Set(faultList.map(({ id }) => id)).size).toBe(faultList.length);
    for (const { id } of faultList) expect(Object.keys(areas)).toContain(id.replace(/\d+a?$/, ""));
  });
});
