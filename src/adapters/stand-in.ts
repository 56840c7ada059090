/**
 * Stands in for a site's own adapter whose module cannot be loaded, when the agent starts with the last good copy of its site file: nothing is
 * started, nothing is known, nothing has ended. What other adapters hold goes on.
 */
import { Fault } from "../common/fault.ts";
import type { Host } from "../hosts/types.ts";
import type { Launcher } from "../launchers/types.ts";
import type { Scheduler } from "../schedulers/types.ts";
import type { TransferAdapter } from "../transfer/types.ts";
import type { AdapterModule, HostPlace } from "./types.ts";

/** What must be known of a module to compile a site file without it. */
export type ModuleFacts =
  | { readonly type: "scheduler" }
  | { readonly type: "launcher"; readonly allocation: boolean }
  | { readonly type: "host" }
  | { readonly type: "transfer"; readonly schemes: readonly string[] };

/** Plain JSON. */
export function factsOf(adapter: AdapterModule): ModuleFacts {
  switch (adapter.type) {
    case "launcher":
      return { type: "launcher", allocation: adapter.allocation };
    case "transfer":
      return { type: "transfer", schemes: adapter.schemes };
    case "scheduler":
    case "host":
      return { type: adapter.type };
  }
}

/** `why`: for people, names the module. */
export function standIn(facts: ModuleFacts, why: string): AdapterModule {
  const contract = 1;
  switch (facts.type) {
    case "scheduler":
      return { ...facts, contract, create: () => noScheduler(why) };
    case "launcher":
      return { ...facts, contract, create: () => noLauncher(why) };
    case "host":
      return {
        ...facts,
        contract,
        create: (_options: unknown, { name, workdir }: HostPlace) => noHost(name, workdir, why),
      };
    case "transfer":
      return { ...facts, contract, create: () => noTransfer(facts.schemes, why) };
  }
}

const kind = "missing";

function missing(why: string) {
  return {
    kind,
    probe: async () => ({ ok: false, reason: why }) as const,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function noScheduler(why: string): Scheduler {
  const unknown = async (items: readonly unknown[]) => items.map(() => ({ state: "unknown", why }) as const);
  return {
    ...missing(why),
    capabilities: { arrays: false, mostTasks: 1, history: "none" },
    render: () => {
      throw new Fault("UNSUPPORTED", why);
    },
    // Nothing was accepted, for certain: there was nobody to accept it.
    submit: async (requests) => requests.map(() => ({ state: "limited", reason: why })),
    find: unknown,
    statuses: unknown,
    cancel: unknown,
    hold: unknown,
    release: unknown,
  };
}

function noLauncher(why: string): Launcher {
  return {
    ...missing(why),
    capabilities: { runtimes: ["plain"], tier: "group", attach: false },
    trouble: why,
    launch: async (plans) => plans.map(() => ({ state: "busy", reason: why })),
    find: async () => unreachable(why),
    statuses: async (refs) => refs.map(() => ({ state: "unknown", why: "unreachable", raw: why })),
    stop: async (refs) => refs.map(() => ({ state: "unknown", why })),
    watch: () => ({ [Symbol.dispose]: () => undefined }),
  };
}

function noHost(name: string, workdir: string, why: string): Host {
  const never = async (): Promise<never> => unreachable(why);
  const files = { read: never, write: never, stat: never, mkdir: never, list: never, remove: never, freeRoom: never };
  return { ...missing(why), name, workdir, files, run: never };
}

function noTransfer(schemes: readonly string[], why: string): TransferAdapter {
  const never = async (): Promise<never> => {
    throw new Fault("TRANSFER", why);
  };
  const capabilities = { resume: false, list: false, write: false, digest: false };
  return { ...missing(why), schemes, capabilities, list: never, read: never, write: never, verify: never };
}

function unreachable(why: string): never {
  throw new Fault("UNREACHABLE", why, { details: { started: "no" } });
}
