import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { compileCache } from "./test/helpers/compile-cache.ts";

/**
 * While V8 counts what runs (`npm run coverage`) tests load the sources as all other processes do, by Node alone, so that
 * the counts of all are of one text.
 */
const counted = process.env["NODE_V8_COVERAGE"] !== undefined;
const runner = counted ? { experimental: { viteModuleRunner: false } } : {};
/** The environment is for what tests start by code of ours: runners. */
const shared = { restoreMocks: true, unstubEnvs: true, env: compileCache, ...runner } as const;

const unitSetup = counted ? ["test/helpers/write-counts.ts"] : [];
/** A file that leaves a process behind fails. */
const setupFiles = [...unitSetup, "test/helpers/leaks-setup.ts"];

/** The name by which modules of a site's own adapters call us; outside of vitest Node resolves it (src/adapters/load.ts). */
const resolve = { alias: { "siteagent/adapter": fileURLToPath(new URL("src/adapters/entry.ts", import.meta.url)) } };

export default defineConfig({
  test: {
    silent: "passed-only",
    // Most tests wait for processes of their own: three workers leave a sixth of two cores idle.
    maxWorkers: Math.max(4, availableParallelism() - 1),
    // Once per run, in the process of vitest: engines, and the PostgreSQL of the run.
    globalSetup: ["test/helpers/engines/setup.ts"],
    projects: [
      {
        resolve,
        test: {
          ...shared,
          name: "unit",
          setupFiles: [...unitSetup, "test/helpers/fuzz.ts"],
          include: ["test/unit/**/*.test.ts"],
          // Their modules hold no state: half of the time went into loading them anew for each file.
          isolate: false,
          testTimeout: 30_000,
        },
      },
      {
        test: {
          ...shared,
          name: "integration",
          setupFiles,
          globalSetup: ["test/helpers/warm-compile-cache.ts"],
          include: ["test/integration/**/*.test.ts", "test/conformance/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          ...shared,
          name: "system",
          setupFiles,
          globalSetup: ["test/helpers/warm-compile-cache.ts"],
          include: ["test/system/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
