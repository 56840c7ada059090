import { defineConfig } from "vitest/config";

const shared = { restoreMocks: true, unstubEnvs: true } as const;
/** A file that leaves a process behind fails. */
const setupFiles = ["test/helpers/leaks-setup.ts"];

export default defineConfig({
  test: {
    silent: "passed-only",
    // Once per run, in the process of vitest: engines, and the PostgreSQL of the run.
    globalSetup: ["test/helpers/engines/setup.ts"],
    projects: [
      { test: { ...shared, name: "unit", include: ["test/unit/**/*.test.ts"] } },
      {
        test: {
          ...shared,
          name: "integration",
          setupFiles,
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
          include: ["test/system/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
