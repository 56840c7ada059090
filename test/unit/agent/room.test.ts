import { expect, it } from "vitest";
import type { AgentCore } from "../../../src/agent/core.ts";
import type { FreeRoom } from "../../../src/agent/machine.ts";
import { Problems } from "../../../src/agent/problems.ts";
import { Room } from "../../../src/agent/room.ts";
import { nextTurn, VirtualClock } from "../../helpers/clocks.ts";

it("C6: a file system that hangs holds up the start for 5 s, is asked once, and stops claims until it answers", async () => {
  const clock = new VirtualClock();
  const problems = new Problems(clock);
  const stopping = new AbortController();
  const free = Promise.withResolvers<FreeRoom>();
  let asked = 0;
  // What the look needs of a core.
  const core = {
    clock,
    problems,
    stopping: stopping.signal,
    ledger: { journal: { health: "ok" } },
    parts: { site: { agent: { minFreeSpaceBytes: 1, stateDir: "/state" } }, hosts: new Map() },
    workdirsHere: [],
    machine: {
      freeRoom() {
        asked++;
        return free.promise;
      },
    },
  } as unknown as AgentCore;
  const room = new Room();
  let looked = false;
  void room.look(core).then(() => (looked = true));
  await clock.advance(4_999);
  expect(looked).toBe(false);
  await clock.advance(1);
  expect(looked).toBe(true);
  expect(room.problem).toMatch(/does not answer/);
  const watching = room.watch(core);
  await clock.advance(120_000);
  expect(asked).toBe(1);
  expect(problems.list()).toHaveLength(1);
  free.resolve({ bytes: 1_000, files: undefined });
  await nextTurn();
  expect(room.problem).toBeUndefined();
  expect(problems.list()).toEqual([]);
  stopping.abort();
  await watching;
});
