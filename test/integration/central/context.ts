import type { Clock } from "../../../src/common/clock.ts";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import type { Logger } from "../../../src/common/logger.ts";
import { json, type ScriptedServer } from "../../helpers/scripted-server.ts";

export interface TestContext extends CallContext {
  /** Messages of warnings, in order. */
  readonly warnings: readonly string[];
}

/** What a call carries; warnings are kept. */
export function testContext(options: { readonly signal?: AbortSignal; readonly clock?: Clock } = {}): TestContext {
  const warnings: string[] = [];
  const log: Logger = {
    debug() {},
    info() {},
    warn(_data, message) {
      warnings.push(message);
    },
    error(_data, message) {
      warnings.push(message);
    },
    child: () => log,
  };
  return { signal: options.signal ?? new AbortController().signal, clock: options.clock ?? systemClock, log, warnings };
}

/** Hands out tokens `t1`, `t2`… */
export function serveTokens(server: ScriptedServer, expires: object = { days: 1, hours: 0, minutes: 0 }): void {
  let count = 0;
  server.on("POST /token", (request, response) => {
    const answer = json(200, { access_token: `t${++count}`, token_type: "bearer", expires });
    return answer(request, response);
  });
}
