import { systemClock } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import { silentLogger } from "../common/logger.ts";

/** Kinds of adapters that there is a contract for. */
export const adapterTypes = ["scheduler", "launcher", "host", "transfer"] as const;
export type AdapterType = (typeof adapterTypes)[number];

/** One promise of a contract, tried on a real adapter. */
export interface Case<Harness> {
  /** Unique in its suite. Begins with the number of the fault that it proves, if it proves one. */
  readonly name: string;
  /** What an adapter must be able to do for the case to apply. */
  readonly needs?: string | readonly string[];
  /** It applies to those that cannot do this, and to nobody else. */
  readonly without?: string;
  /** Throws when the promise is not kept. */
  run(harness: Harness): Promise<void>;
}

/** All cases of one type of adapter. */
export interface Suite<Harness extends AsyncDisposable> {
  readonly type: AdapterType;
  /** By what the adapter does in them. */
  readonly groups: Readonly<Record<string, readonly Case<Harness>[]>>;
  /** What not every adapter, or not every one that can be tried, is able to do; with what that means. */
  readonly abilities: Readonly<Record<string, string>>;
  /** Which of the abilities this one does not have. */
  lacking(harness: Harness): readonly string[];
  /** True: all cases have one harness, one after the other. False: each has its own. */
  readonly shared: boolean;
  /** So long one case may take on a loaded machine. */
  readonly timeoutMs: number;
}

/** What a case needs that is not there. */
export function lackOf({ needs = [] }: Pick<Case<never>, "needs">, lacking: readonly string[]): string | undefined {
  return (typeof needs === "string" ? [needs] : needs).find((ability) => lacking.includes(ability));
}

/** Whether a case is for an adapter that lacks these abilities. */
export function applies(one: Case<never>, lacking: readonly string[]): boolean {
  if (lackOf(one, lacking) !== undefined) return false;
  return one.without === undefined || lacking.includes(one.without);
}

/** What the cases call adapters with. */
export function callContext(signal: AbortSignal = new AbortController().signal): CallContext {
  return { signal, log: silentLogger, clock: systemClock };
}
