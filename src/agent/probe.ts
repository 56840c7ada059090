import type { AgentCore } from "./core.ts";

/** Asks each launcher and host once whether it can work here, so that status says so before the first job finds out. */
export async function probeParts(core: AgentCore): Promise<void> {
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
  for (const { key, what, adapter } of adapters) {
    const probe = await adapter.probe(context);
    if (core.stopping.aborted) return;
    if (probe.ok) core.problems.clear(key);
    else core.problems.set(key, `${what}: ${probe.reason}`, probe.hint);
  }
  core.changed.notify();
}
