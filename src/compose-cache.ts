/** The cache of inputs of a site file; part of src/compose.ts, the only place that builds concrete adapters. */
import { thisMachine } from "./agent/machine.ts";
import type { Site } from "./config/types.ts";
import { InputCache } from "./transfer/cache/index.ts";

/** Lives over all reloads, as jobs wait there for each other; another directory is another cache. */
export class CurrentCache {
  #current: { readonly directory: string; readonly cache: InputCache } | undefined;

  /** Undefined: the site has none. */
  of({ cache: settings, agent }: Site): InputCache | undefined {
    if (settings === undefined) {
      this.#current = undefined;
    } else if (this.#current?.directory === settings.directory) {
      this.#current.cache.configure(settings);
    } else {
      const cache = new InputCache({ ...settings, agent: () => thisMachine.identity(agent.stateDir) });
      this.#current = { directory: settings.directory, cache };
    }
    return this.#current?.cache;
  }
}
