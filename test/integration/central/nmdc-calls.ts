/** What the tests of the plain dialect ask of it. */
import { openCentral } from "../../../src/central/discover.ts";
import type { Central, Report } from "../../../src/central/types.ts";
import type { SyncRequest } from "../../../src/wire/agent-api.ts";
import { answerLost } from "../../helpers/scripted-server.ts";
import type { NmdcWorld } from "./nmdc-world.ts";

export function centralOf(world: NmdcWorld, site = "lab-a"): Promise<Central> {
  return openCentral({
    url: world.server.url,
    site,
    agentId: "agent-1",
    clientId: `client-${site}`,
    clientSecret: async () => "secret",
    dialect: "nmdc",
    timeoutMs: 3_000,
  });
}

export function request(changes: Partial<SyncRequest> = {}): SyncRequest {
  return { agent_id: "a", instance_id: "i", version: "0", state: "running", ...changes };
}

export function report(changes: Partial<Report> = {}): Report {
  return {
    job: "j",
    op_id: "op-1",
    epoch: 1,
    seq: 1,
    attempt: 0,
    state: "READY",
    phase: "claimed",
    at: "2026-03-01T10:00:00.000Z",
    done: false,
    ...changes,
  };
}

/** While `work` runs, calls of the route have their effect but no reply comes. */
export async function losing(world: NmdcWorld, route: string, work: () => Promise<void>): Promise<void> {
  const whole = world.server.lasting(route);
  world.server.on(route, answerLost(whole));
  await work();
  world.server.on(route, whole);
}
