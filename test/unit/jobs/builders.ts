import type { z } from "zod";
import { type App, appSchema } from "../../../src/jobs/app.ts";

/** An app as the site file would give it. */
export function appOf(input: Partial<z.input<typeof appSchema>> = {}, name = "tool"): App {
  return { ...appSchema.parse({ workflow: "tool-1.0.0", command: ["tool"], target: "local", ...input }), name };
}
