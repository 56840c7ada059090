import { threadId } from "node:worker_threads";
import { expect, it, vi } from "vitest";
import { FileThread } from "../../../src/common/file-thread.ts";
import { isFault } from "../../../src/common/fault.ts";

const module = new URL("./in-thread.ts", import.meta.url).href;

it("calls functions in a thread of its own, the same one for all", async () => {
  const thread = new FileThread();
  expect(thread.running).toBe(false);
  const ids = await Promise.all(Array.from({ length: 20 }, () => thread.call(module, "where", [])));
  expect(new Set(ids).size).toBe(1);
  expect(ids[0]).not.toBe(threadId);
  expect(thread.running).toBe(true);
});

it("passes on what a function throws: the system's code, a Fault with all that it says", async () => {
  const thread = new FileThread();
  const [missing, refused, unknown] = await Promise.allSettled([
    thread.call(module, "read", ["/nowhere/at/all"]),
    thread.call(module, "refuse", []),
    thread.call(module, "nonesuch", []),
  ]);
  expect(missing).toMatchObject({ reason: { code: "ENOENT" } });
  expect(refused).toMatchObject({ reason: { message: "refused", hint: "do not", details: { path: "/x" } } });
  expect(refused.status === "rejected" && isFault(refused.reason, "UNSAFE_PATH")).toBe(true);
  expect(unknown).toMatchObject({ reason: { message: expect.stringContaining("nonesuch") } });
});

it("when the thread ends all that wait for it are told, and the next call has another", async () => {
  const thread = new FileThread();
  const first = await thread.call(module, "where", []);
  const waiting = [thread.call(module, "wait", []), thread.call(module, "end", [])];
  for (const result of await Promise.allSettled(waiting)) {
    expect(result).toMatchObject({ reason: { message: "the thread for files has ended" } });
  }
  expect(await thread.call(module, "where", [])).not.toBe(first);
});

it("ends when nobody has asked for a minute, and not while somebody waits", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    const thread = new FileThread();
    const waiting = thread.call(module, "wait", []);
    const first = await thread.call(module, "where", []);
    vi.advanceTimersByTime(600_000);
    expect(await thread.call(module, "where", [])).toBe(first);
    thread.call(module, "end", []).catch(() => undefined);
    await expect(waiting).rejects.toThrow("has ended");
    await thread.call(module, "where", []);
    vi.advanceTimersByTime(60_000);
    expect(thread.running).toBe(true);
    vi.advanceTimersByTime(60_000);
    expect(thread.running).toBe(false);
  } finally {
    vi.useRealTimers();
  }
});
