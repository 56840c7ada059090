/** Which files of an item go together, and which one by one. */
import type { CallContext } from "../common/context.ts";
import type { Move, PlannedFile } from "./plan.ts";
import type { BulkTransfer, RemoteFile, TransferAdapter } from "./types.ts";

/** A remote that could not is asked again after this time: programs get installed. */
const askAgainMs = 600_000;

/** The remotes that have said they cannot move many files in one go. */
export class BulkOffers {
  /** When a host last could not, by the monotonic clock. */
  readonly #refused = new WeakMap<TransferAdapter, Map<string, number>>();

  /** Undefined: the files of this host go one by one. */
  of(adapter: TransferAdapter, host: string, { clock }: CallContext): BulkTransfer | undefined {
    const since = this.#refused.get(adapter)?.get(host);
    return since === undefined || clock.monotonic() - since > askAgainMs ? adapter.bulk : undefined;
  }

  refused(adapter: TransferAdapter, host: string, { clock }: CallContext): void {
    const hosts = this.#refused.get(adapter) ?? new Map<string, number>();
    this.#refused.set(adapter, hosts.set(host, clock.monotonic()));
  }
}

/** Name of a file in the directory that `BulkTransfer.fetch` brings it to. */
export function arrivalPath({ path }: RemoteFile): string {
  return path === "" ? "file" : path;
}

/** One by one. */
export function singleMove(file: PlannedFile): Move {
  return {
    host: file.host,
    files: 1,
    run: async (context, hear) => {
      await hear.done(file, await file.move(context, (bytes) => hear.moved(file, bytes)));
      return [];
    },
  };
}

/** Cuts the files of one item into groups within the limits of `bulk`, in their order; what does not go into one goes by itself. */
export function cutMoves<File extends PlannedFile>(
  files: readonly File[],
  bulk: BulkTransfer | undefined,
  together: (files: readonly File[], bulk: BulkTransfer) => Move,
): readonly Move[] {
  if (!bulk) return files.map(singleMove);
  const moves: Move[] = [];
  let group: File[] = [];
  let bytes = 0;
  const close = (): void => {
    if (group.length >= bulk.leastFiles) moves.push(together(group, bulk));
    else for (const file of group) moves.push(singleMove(file));
    group = [];
    bytes = 0;
  };
  for (const file of files) {
    if ((file.bytes ?? Infinity) > bulk.mostFileBytes) {
      moves.push(singleMove(file));
      continue;
    }
    const next = file.bytes ?? 0;
    if (group.length > 0 && (group.length >= bulk.mostFiles || bytes + next > bulk.mostBytes)) close();
    group.push(file);
    bytes += next;
  }
  close();
  return moves;
}
