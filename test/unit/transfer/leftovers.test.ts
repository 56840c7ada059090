import { appendFile, readdir } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken } from "../../../src/common/token.ts";
import { Leftovers } from "../../../src/transfer/leftovers.ts";
import { TransferRegistry } from "../../../src/transfer/registry.ts";
import { Sweeper } from "../../../src/transfer/sweeper.ts";
import type { Leftover, TransferAdapter } from "../../../src/transfer/types.ts";
import { VirtualClock } from "../../helpers/clocks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

/** A remote that says what it was asked to remove, or fails. */
function remote(answer: (leftover: Leftover) => void): TransferRegistry {
  const unused = (): Promise<never> => Promise.reject(new Error("not used"));
  const adapter: TransferAdapter = {
    kind: "remote",
    schemes: ["sftp"],
    capabilities: { resume: false, list: true, write: true, digest: false },
    probe: async () => ({ ok: true, version: "1" }),
    list: unused,
    read: unused,
    write: unused,
    verify: unused,
    sweep: async (leftover) => answer(leftover),
    [Symbol.asyncDispose]: async () => {},
  };
  return new TransferRegistry([adapter]);
}

describe("what jobs have left at remotes", () => {
  it("is noted once for each directory and each id, and known to the next process; a torn line is none", async () => {
    await using place = await temporaryDirectory();
    const [token, other] = [newToken(), newToken()];
    const before = new Leftovers(place.join("notes"));
    for (const url of ["sftp://h/a/x", "sftp://h/a/y", "sftp://h/b/z"]) await before.note(token, { url });
    await before.note(token, { url: "sftp://h/a/x", id: "7" });
    await before.note(other, { url: "sftp://h/c/x" });
    await before.giveUp(token, 5);
    await appendFile(place.join("notes", token), '{"url":"sftp://h/d');
    const after = new Leftovers(place.join("notes"));
    const left = [{ url: "sftp://h/a/x" }, { url: "sftp://h/b/z" }, { url: "sftp://h/a/x", id: "7" }];
    expect(await after.givenUp()).toEqual([{ token, over: 5, left }]);
    expect([await after.has(other), await after.has(newToken())]).toEqual([true, false]);
    await after.drop(token);
    expect(await readdir(place.join("notes"))).toEqual([other]);
  });

  it("is removed when its job is over; a host that does not answer is left alone for longer and longer", async () => {
    const clock = new VirtualClock();
    const context = { signal: new AbortController().signal, log: silentLogger, clock };
    const asked: string[] = [];
    let away = true;
    const registry = remote(({ url }) => {
      asked.push(url);
      if (away && url.includes("away")) throw new Fault("UNREACHABLE", "no answer");
    });
    const leftovers = new Leftovers();
    const sweeper = new Sweeper(leftovers, registry);
    const [token, running] = [newToken(), newToken()];
    const urls = ["sftp://away/a/x", "sftp://away/b/x", "sftp://here/a/x"];
    for (const url of urls) await leftovers.note(token, { url });
    await leftovers.note(running, { url: "sftp://here/r/x" });
    await leftovers.giveUp(token, clock.now());
    const sweepAfter = async (ms: number): Promise<readonly string[]> => {
      await clock.advance(ms);
      asked.length = 0;
      await sweeper.sweep(context);
      return [...asked];
    };
    expect(await sweepAfter(0)).toEqual(["sftp://away/a/x", "sftp://here/a/x"]);
    expect(await sweepAfter(59_000)).toEqual(["sftp://here/a/x"]);
    expect(await sweepAfter(2_000)).toContain("sftp://away/a/x");
    expect(await sweepAfter(61_000)).not.toContain("sftp://away/a/x");
    away = false;
    expect(await sweepAfter(60_000)).toEqual(urls);
    expect(await sweepAfter(60_000)).toEqual([]);
    expect([await leftovers.has(token), await leftovers.has(running)]).toEqual([false, true]);
  });

  it.each([
    ["refuses it", new Fault("TRANSFER_REFUSED", "denied"), 0],
    ["has not answered for a week", new Fault("UNREACHABLE", "no answer"), 8 * 24 * 3_600_000],
  ])("is given up where the remote %s", async (_, fault, ms) => {
    const clock = new VirtualClock();
    const leftovers = new Leftovers();
    const registry = remote(() => {
      throw fault;
    });
    const token = newToken();
    await leftovers.note(token, { url: "sftp://h/a/x" });
    await leftovers.giveUp(token, clock.now());
    await clock.advance(ms);
    const context = { signal: new AbortController().signal, log: silentLogger, clock };
    await new Sweeper(leftovers, registry).sweep(context);
    expect(await leftovers.has(token)).toBe(false);
  });
});
