import { Fault } from "../common/fault.ts";
import { nearest, quoted } from "../common/nearest.ts";
import type { TransferAdapter } from "./types.ts";
import { shownUrl } from "./urls.ts";

/** Finds the adapter of a URL by its scheme. A site's own adapters are added to the built-in ones when the config is compiled. */
export class TransferRegistry implements AsyncDisposable {
  readonly #byScheme = new Map<string, TransferAdapter>();

  /** Throws CONFIG when two adapters want the same scheme. */
  constructor(adapters: readonly TransferAdapter[] = []) {
    for (const adapter of adapters) this.add(adapter);
  }

  /** Throws CONFIG when another adapter serves one of its schemes. */
  add(adapter: TransferAdapter): void {
    for (const scheme of adapter.schemes) {
      const other = this.#byScheme.get(scheme);
      if (other && other !== adapter) {
        throw new Fault(
          "CONFIG",
          `scheme '${scheme}' is served by two transfers: '${other.kind}' and '${adapter.kind}'`,
        );
      }
    }
    for (const scheme of adapter.schemes) this.#byScheme.set(scheme, adapter);
  }

  get schemes(): readonly string[] {
    return [...this.#byScheme.keys()].toSorted();
  }

  get adapters(): readonly TransferAdapter[] {
    return [...new Set(this.#byScheme.values())];
  }

  /** Throws UNSUPPORTED naming the known schemes. */
  forUrl(url: string): TransferAdapter {
    const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url)?.[1]?.toLowerCase() ?? "";
    const adapter = this.#byScheme.get(scheme);
    if (adapter) return adapter;
    const meant = nearest(scheme, this.#byScheme.keys());
    throw new Fault("UNSUPPORTED", `no transfer serves scheme '${scheme}' of ${quoted(shownUrl(url), 300)}`, {
      hint: `known: ${this.schemes.join(", ")}${meant === undefined ? "" : `; did you mean '${meant}'?`}`,
      details: { scheme, known: this.schemes },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.adapters.map((adapter) => adapter[Symbol.asyncDispose]()));
  }
}
