import { findProgram } from "./command.ts";
import type { Engine } from "./engine.ts";

export function chromiumPath(): string | undefined {
  return findProgram("chromium") ?? findProgram("chromium-browser") ?? findProgram("google-chrome");
}

/** A browser for the pages of the hub. Found, not started: a start costs a second and says no more. */
export const chromium: Engine = {
  debianPackages: ["chromium"],
  probe() {
    const path = chromiumPath();
    return Promise.resolve(path ? { ok: true, version: path } : { ok: false, reason: "no chromium in PATH" });
  },
};
