import type { Adapter } from "../common/adapter.ts";
import type { AgentCore } from "./core.ts";

/** How often those that could not work are asked again, and new ones of a reload found. */
const againMs = 60_000;
/** Rounds between two looks at what runs out. */
const endingsEvery = 10;

/** Asks each launcher and host whether it can work here, until it can, so that status says so before the first job finds out. */
export async function probeParts(core: AgentCore): Promise<void> {
  const works = new WeakSet<Adapter>();
  for (let round = 0; !core.stopping.aborted; round++) {
    await probeAll(core, works);
    if (round % endingsEvery === 0) await lookAtEndings(core);
    await core.clock.sleep(againMs, core.stopping);
  }
}

/** Said before logins are refused: from then on staging and submissions wait, and what runs goes on. */
async function lookAtEndings(core: AgentCore): Promise<void> {
  const endings = (await core.parts.endings?.()) ?? [];
  if (endings.length === 0) core.problems.clear("endings");
  else
    core.problems.set("endings", endings.join("; "), "get a new one in its place; it is used from the next login on");
}

async function probeAll(core: AgentCore, works: WeakSet<Adapter>): Promise<void> {
  const { parts } = core;
  const context = core.context(core.log.child({ component: "probe" }));
  const adapters = [
    ...[...parts.launchers].map(([name, adapter]) => ({
      key: `target:${name}`,
      what: `target '${name}' cannot start attempts`,
      adapter,
    })),
    ...[...parts.hosts].map(([name, adapter]) => ({
      key: `host:${name}`,
      what: `host '${name}' cannot be used`,
      adapter,
    })),
  ];
  core.problems.keepOnly("target:", new Set(parts.launchers.keys()));
  core.problems.keepOnly("host:", new Set(parts.hosts.keys()));
  let news = false;
  for (const { key, what, adapter } of adapters) {
    if (works.has(adapter)) continue;
    const probe = await adapter.probe(context);
    if (core.stopping.aborted) return;
    news = true;
    if (probe.ok) {
      works.add(adapter);
      core.problems.clear(key);
    } else core.problems.set(key, `${what}: ${probe.reason}`, probe.hint);
  }
  if (news) core.changed.notify();
}
