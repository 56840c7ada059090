/** What a module of a site's own adapter exports as `siteagentAdapter`, and what it gets. docs/adding-an-adapter.md leads through it. */
import type { z } from "zod";
import type { HostHarness } from "../conformance/host/index.ts";
import type { LauncherHarness } from "../conformance/launcher/index.ts";
import type { SchedulerHarness } from "../conformance/scheduler/index.ts";
import type { TransferHarness } from "../conformance/transfer/index.ts";
import type { Host } from "../hosts/types.ts";
import type { Launcher } from "../launchers/types.ts";
import type { Scheduler, SchedulerOptions } from "../schedulers/types.ts";
import type { TransferPolicy } from "../transfer/policy.ts";
import type { TransferAdapter } from "../transfer/types.ts";

/** The version of this contract. A release that changes what a module must do raises it and takes the one before for a while. */
export const contractVersion = 1;

interface AnyModule<Options> {
  readonly contract: typeof contractVersion;
  /** What `options` of the site file may say; refused with file and line what does not fit. Left out: no options. */
  readonly options?: z.ZodType<Options>;
}

/** A place for trying an adapter; gone afterwards. */
export interface RehearsalPlace {
  /** Absolute; empty, 0700. */
  readonly directory: string;
  /** This machine. */
  readonly host: Host;
}

/** What each rehearsal gives besides what its type of adapter needs. */
interface Rehearsal {
  /** As the site file would have them; checked by the schema. */
  readonly options?: unknown;
  /** Ends what was started for it. */
  dispose?(): Promise<void>;
}

export interface SchedulerModule<Options = unknown> extends AnyModule<Options> {
  readonly type: "scheduler";
  /** Exit codes in which the scheduler reads an order (Grid Engine runs a job again after 99): scripts end with another. Default: none. */
  readonly reservedCodes?: readonly number[];
  /** Only assigns; nothing runs before the first verb. */
  create(options: Options, place: SchedulerOptions): Scheduler;
  /** What `siteagent conformance` needs to try it: a scheduler in which small jobs start at once. */
  rehearse?(place: RehearsalPlace): Promise<SchedulerRehearsal>;
}

export interface SchedulerRehearsal
  extends Rehearsal, Pick<SchedulerHarness, "waiting" | "wrongQueue" | "neverUsedId" | "holds" | "outage"> {
  /** Variables of its commands besides `PATH`. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What a small job asks for; default: one core, ten minutes, no queue. */
  readonly small?: SchedulerHarness["small"];
}

/** What a launcher of one target is made from. */
export interface LauncherPlace {
  /** Name of the target. */
  readonly target: string;
  /** The target's host. */
  readonly host: Host;
  /** Absolute; on this machine, for this adapter alone. It need not be there yet. */
  readonly stateDirectory: string;
  /** `PATH` of commands there. */
  readonly path: string;
}

export interface LauncherModule<Options = unknown> extends AnyModule<Options> {
  readonly type: "launcher";
  /** Attempts get nodes, cores and GPUs of their own; false: they share a machine. */
  readonly allocation: boolean;
  /** Nodes that one attempt can have at most. Default: no limit. */
  readonly maxNodes?: number;
  /** Attempts at the same time where the target says nothing. Default: the number of processors. */
  readonly slots?: number;
  create(options: Options, place: LauncherPlace): Launcher;
  rehearse?(place: RehearsalPlace): Promise<Rehearsal & Pick<LauncherHarness, "scheduled">>;
}

/** What a host is made from. */
export interface HostPlace {
  /** Its name in the site file. */
  readonly name: string;
  /** Absolute path below which all directories of jobs lie. */
  readonly workdir: string;
}

export interface HostModule<Options = unknown> extends AnyModule<Options> {
  readonly type: "host";
  create(options: Options, place: HostPlace): Host;
  /** The host must lead to this machine. */
  rehearse?(place: RehearsalPlace): Promise<Rehearsal & Partial<Pick<HostHarness, "root">>>;
}

export interface TransferModule<Options = unknown> extends AnyModule<Options> {
  readonly type: "transfer";
  /** Without colon, in small letters; no other transfer serves them. */
  readonly schemes: readonly string[];
  create(options: Options, place: { readonly policy: TransferPolicy }): TransferAdapter;
  rehearse?(place: RehearsalPlace): Promise<TransferRehearsal>;
}

export interface TransferRehearsal extends Rehearsal, Pick<TransferHarness, "url" | "forbidden" | "put" | "get"> {
  /** What the policy allows meanwhile, as in the site file. */
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly allowPrivate?: readonly string[];
}

export type AdapterModule = SchedulerModule | LauncherModule | HostModule | TransferModule;

/** A module that was read and keeps to the form of the contract; what its verbs do is for the suites to try. */
export interface LoadedModule {
  /** Absolute, links resolved. */
  readonly path: string;
  /** SHA-256 of the file (64 hexadecimal digits). */
  readonly digest: string;
  readonly adapter: AdapterModule;
}
