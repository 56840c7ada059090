import { describe, expect, test } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { RemoteBreaker } from "../../../src/transfer/remote-breaker.ts";
import { RemoteRun, Remotes } from "../../../src/transfer/remotes.ts";
import { defaultRetry, withRetries } from "../../../src/transfer/retry.ts";
import type { RemoteLimits, RemoteWait, TransferContext } from "../../../src/transfer/types.ts";
import { nextTurn, VirtualClock } from "../../helpers/clocks.ts";

const silent = new Fault("UNREACHABLE", "nobody answers");

/** Remotes with these limits, time that a test lets pass, and what moved. */
function bed(limits: RemoteLimits = {}) {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const context = { signal: stop.signal, log: silentLogger, clock };
  const remotes = new Remotes(() => limits);
  return { clock, stop, context, remotes };
}

describe("files at the same time", () => {
  test("a job of which nothing moves goes before the next file of one with many", async () => {
    const { remotes, context } = bed({ files: 2 });
    const order: string[] = [];
    const held: (() => void)[] = [];
    const move = (run: RemoteRun, name: string): Promise<void> =>
      remotes.within("far", run, context, async () => {
        order.push(name);
        await new Promise<void>((resolve) => held.push(resolve));
      });
    const [large, small] = [new RemoteRun("large"), new RemoteRun("small")];
    const all = ["1", "2", "3", "4"].map((name) => move(large, `large${name}`));
    all.push(move(small, "small"));
    while (order.length < 5) {
      await nextTurn();
      held.shift()?.();
    }
    for (const end of held) end();
    await Promise.all(all);
    expect(order).toEqual(["large1", "large2", "small", "large3", "large4"]);
  });

  test("a long file stands aside for a job of which nothing moves, and goes on after it", async () => {
    const { remotes, context } = bed({ files: 2 });
    const order: string[] = [];
    let small: Promise<void> | undefined;
    const long = (name: string): Promise<void> =>
      remotes.within("far", large, context, async ({ remote }) => {
        for (let piece = 0; piece < 6; piece++) {
          order.push(name);
          await nextTurn();
          if (name === "a" && piece === 1)
            small = remotes.within("far", other, context, async () => void order.push("small"));
          await remote?.flow(1_000);
        }
      });
    const [large, other] = [new RemoteRun("large"), new RemoteRun("small")];
    await Promise.all([long("a"), long("b")]);
    await small;
    // Both places were taken for the whole time.
    expect(order.indexOf("small")).toBeLessThan(8);
    expect(order.filter((name) => name === "a")).toHaveLength(6);
    expect(order.filter((name) => name === "b")).toHaveLength(6);
  });

  test("who gives up while it waits leaves its place to others", async () => {
    const { remotes, context } = bed({ files: 1 });
    const run = new RemoteRun("job");
    const busy = Promise.withResolvers<void>();
    const first = remotes.within("far", run, context, () => busy.promise);
    const stop = new AbortController();
    const second = remotes.within("far", run, { ...context, signal: stop.signal }, async () => "moved");
    const third = remotes.within("far", run, context, async () => "moved");
    await nextTurn();
    stop.abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    busy.resolve();
    await first;
    expect(await third).toBe("moved");
  });
});

describe("a line that is lost again and again", () => {
  const lost = new Fault("UNREACHABLE", "the connection was lost");
  const further = new Fault("UNREACHABLE", "the connection was lost", { details: { advanced: true } });

  /** Rounds of tries, each ended as said when all that may begin have begun: how many those were, after the last as well. */
  async function tries(files: number, rounds: readonly (Fault | "whole" | "bytes")[]): Promise<readonly number[]> {
    const { remotes, context } = bed({ files });
    const run = new RemoteRun("job");
    const counts: number[] = [];
    const under: ((end: Fault | "whole" | "bytes") => void)[] = [];
    let isOver = false;
    const move = (): Promise<void> =>
      remotes.within("far", run, context, async ({ remote }) => {
        while (!isOver) {
          await remote?.begin();
          if (isOver) return;
          await remote?.flow(1);
          const end = await new Promise<Fault | "whole" | "bytes">((resolve) => under.push(resolve));
          if (end === "bytes") for (let mebibyte = 0; mebibyte < 16; mebibyte++) await remote?.flow(1024 * 1024);
          else if (end === "whole") remote?.done();
          else remote?.failed(end);
        }
      });
    const moves = Array.from({ length: files }, move);
    for (const end of [...rounds, "whole" as const]) {
      await nextTurn();
      await nextTurn();
      counts.push(under.length);
      isOver = counts.length > rounds.length;
      for (const tell of under.splice(0)) tell(end);
    }
    await Promise.all(moves);
    return counts;
  }

  test("where no file comes further half as many go on at a time, down to one", async () => {
    expect(await tries(8, [lost, lost, lost, lost])).toEqual([8, 4, 2, 1, 1]);
  });

  test("files that come further go on together", async () => {
    expect(await tries(8, [further, further])).toEqual([8, 8, 8]);
  });

  test("each file that moves while the line holds lets one more go on, and many bytes all of them", async () => {
    expect(await tries(8, [lost, lost, lost, "whole", "whole", "whole", lost])).toEqual([8, 4, 2, 1, 1, 2, 4, 2]);
    expect(await tries(8, [lost, lost, lost, "whole", further, "whole"])).toEqual([8, 4, 2, 1, 1, 1, 1]);
    expect(await tries(8, [lost, lost, "bytes"])).toEqual([8, 4, 2, 8]);
  });

  test("who was never on the line says nothing of it", async () => {
    const { remotes, context } = bed({ files: 2 });
    const run = new RemoteRun("job");
    let under = 0;
    const end = Promise.withResolvers<void>();
    const move = (): Promise<void> =>
      remotes.within("far", run, context, async ({ remote }) => {
        await remote?.begin();
        remote?.failed(lost);
        await remote?.begin();
        under++;
        await end.promise;
      });
    const moves = [move(), move()];
    await nextTurn();
    expect(under).toBe(2);
    end.resolve();
    await Promise.all(moves);
  });
});

describe("bandwidth", () => {
  test("holds over all jobs, and is shared by them whatever they have waiting", async () => {
    const { remotes, context, clock } = bed({ files: 16, bytesPerSecond: 100_000 });
    const moved = { large: 0, small: 0 };
    const [large, small] = [new RemoteRun("large"), new RemoteRun("small")];
    const move = (run: RemoteRun, job: "large" | "small"): Promise<void> =>
      remotes.within("far", run, context, async ({ remote }) => {
        for (let piece = 0; piece < 100; piece++) {
          await remote?.flow(5_000);
          moved[job] += 5_000;
        }
      });
    const all = Array.from({ length: 8 }, () => move(large, "large"));
    await clock.advance(1_000);
    all.push(move(small, "small"));
    const before = moved.large;
    expect(before).toBeGreaterThanOrEqual(100_000);
    expect(before).toBeLessThanOrEqual(110_000);
    await clock.advance(4_000);
    expect(moved.large - before + moved.small).toBeLessThanOrEqual(410_000);
    expect(moved.small).toBeGreaterThanOrEqual(190_000);
    expect(moved.large - before).toBeGreaterThanOrEqual(190_000);
    await clock.advance(60_000);
    await Promise.all(all);
  });
});

describe("a remote that does not answer", () => {
  /** One job that moves files there, which fail while `down`. */
  function job(rig: ReturnType<typeof bed>, name: string, host = "far") {
    const waits: (RemoteWait | undefined)[] = [];
    const run = new RemoteRun(name, (wait) => waits.push(wait));
    const tries: number[] = [];
    const state = { down: true };
    const attempt = async (): Promise<string> => {
      tries.push(rig.clock.monotonic());
      await rig.clock.sleep(10);
      if (state.down) throw silent;
      return "moved";
    };
    const options = { ...defaultRetry, random: () => 0.5 };
    const start = (): Promise<string> =>
      rig.remotes.within(host, run, rig.context, (turn: TransferContext) =>
        withRetries("file", turn, options, attempt),
      );
    return { start, waits, tries, state };
  }

  test("waits, at the cost of no try, says so once, and is probed less and less often by one file", async () => {
    const rig = bed({ files: 16 });
    const one = job(rig, "one");
    const files = Array.from({ length: 10 }, () => one.start());
    await rig.clock.advance(30_000);
    expect(one.waits).toEqual([{ host: "far", reason: "nobody answers" }]);
    const early = one.tries.length;
    await rig.clock.advance(3_600_000);
    // One probe in half a minute at the most, where ten files with backoffs of a minute each would have given up long ago.
    expect(one.tries.length - early).toBeGreaterThan(50);
    expect(one.tries.length - early).toBeLessThan(300);
    one.state.down = false;
    await rig.clock.advance(60_000);
    expect(await Promise.all(files)).toEqual(files.map(() => "moved"));
    expect(one.waits).toEqual([{ host: "far", reason: "nobody answers" }, undefined]);
  });

  test("stalls nobody else, and is known to those that come later", async () => {
    const rig = bed({ files: 2 });
    const hung = job(rig, "hung");
    const files = [hung.start(), hung.start(), hung.start()];
    await rig.clock.advance(60_000);
    const other = job(rig, "other", "elsewhere");
    other.state.down = false;
    const moved = other.start();
    await rig.clock.advance(10);
    expect(await moved).toBe("moved");
    expect(other.waits).toEqual([]);
    hung.state.down = false;
    await rig.clock.advance(120_000);
    expect(await Promise.all(files)).toEqual(["moved", "moved", "moved"]);
  });

  test("a run that cannot tell anybody why it waits fails when its tries are used up", async () => {
    const rig = bed();
    let tries = 0;
    const end = rig.remotes.within("far", new RemoteRun("job"), rig.context, (turn) =>
      withRetries("file", turn, defaultRetry, async () => {
        tries++;
        throw silent;
      }),
    );
    const failed = expect(end).rejects.toMatchObject({ code: "TRANSFER", details: { last: "UNREACHABLE" } });
    await rig.clock.advance(600_000);
    await failed;
    expect(tries).toBe(5);
  });

  test("a wait ends with its job", async () => {
    const rig = bed();
    const one = job(rig, "one");
    const file = expect(one.start()).rejects.toMatchObject({ code: "CANCELLED" });
    await rig.clock.advance(60_000);
    rig.stop.abort();
    await file;
  });
});

describe("the breaker", () => {
  const context = (clock: VirtualClock) => ({ signal: new AbortController().signal, log: silentLogger, clock });

  test("takes files that are lost with one connection for one failure", async () => {
    const clock = new VirtualClock();
    const breaker = new RemoteBreaker(() => 0.5);
    const attempts = await Promise.all(Array.from({ length: 16 }, () => breaker.enter(context(clock), () => {})));
    await clock.advance(5);
    for (const attempt of attempts) breaker.failed(attempt, silent, clock.monotonic());
    expect(breaker.trouble).toBeUndefined();
  });

  test("lets the others go as soon as the probe has an answer, and one take its place when it ended without one", async () => {
    const clock = new VirtualClock();
    const breaker = new RemoteBreaker(() => 0.5);
    for (let round = 0; round < 3; round++) {
      const attempt = await breaker.enter(context(clock), () => {});
      await clock.advance(1);
      breaker.failed(attempt, silent, clock.monotonic());
    }
    expect(breaker.trouble).toBe(silent);
    await clock.advance(10_000);
    const probe = await breaker.enter(context(clock), () => {});
    expect(probe.isProbe).toBe(true);
    const entered: boolean[] = [];
    const others = [1, 2].map(async () => {
      const attempt = await breaker.enter(context(clock), () => {});
      entered.push(attempt.isProbe);
      return attempt;
    });
    await clock.advance(1_000);
    expect(entered).toEqual([]);
    breaker.unclear(probe);
    await clock.advance(1);
    expect(entered).toEqual([true]);
    const [second] = others;
    if (second) breaker.answered(await second, false);
    await clock.advance(1);
    expect(entered).toEqual([true, false]);
  });
});
