import { join } from "node:path";
import { expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { hubConfigSchema } from "../../../src/hub/config.ts";

it("fits the hub's schema", async () => {
  const example = join(import.meta.dirname, "../../../config/hub.example.yaml");
  const { settings } = await loadConfig(example, hubConfigSchema);
  expect(settings).toMatchObject({
    store: { kind: "sqlite" },
    workflows: [
      { id: "readqc-1.0.0", claims: "exclusive" },
      { id: "terminal-report-1.0.0", claims: "nmdc" },
    ],
    triggers: [{ object_type: "metagenome-reads", workflow: "readqc-1.0.0" }],
    triggers_sweep: 30_000,
    limits: { body: 8 * 2 ** 20 },
  });
});
