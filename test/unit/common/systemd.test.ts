import { expect, test } from "vitest";
import { silentLogger } from "../../../src/common/logger.ts";
import { takeServiceManager } from "../../../src/common/systemd.ts";

test("without its variable there is nobody to tell", () => {
  const env = { PATH: "/usr/bin", WATCHDOG_USEC: "120000000" };
  expect(takeServiceManager(env, silentLogger)).toBeUndefined();
  expect(env).toEqual({ PATH: "/usr/bin" });
});

test("takes its variables away, so that no child can speak in our name", () => {
  const env = {
    PATH: "/usr/bin",
    NOTIFY_SOCKET: "/run/x",
    WATCHDOG_USEC: "120000000",
    WATCHDOG_PID: String(process.pid),
  };
  expect(takeServiceManager(env, silentLogger)?.watchdogMs).toBe(120_000);
  expect(env).toEqual({ PATH: "/usr/bin" });
});

test("a watchdog that is meant for another process is none of ours", () => {
  const env = { NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "120000000", WATCHDOG_PID: "1" };
  expect(takeServiceManager(env, silentLogger)?.watchdogMs).toBeUndefined();
});

test("a missing program is told to the log and harms nobody", async () => {
  const warnings: unknown[] = [];
  const log = { ...silentLogger, warn: (entry: unknown) => void warnings.push(entry) };
  await takeServiceManager({ PATH: "/nowhere", NOTIFY_SOCKET: "/run/x" }, log)?.tell("READY=1");
  expect(warnings).toMatchObject([{ assignments: ["READY=1"] }]);
});
