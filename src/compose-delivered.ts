/** Fetches what jobs have delivered from where it lies; part of src/compose.ts, the only place that builds concrete adapters. */
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname } from "node:path";
import type { CallContext } from "./common/context.ts";
import { createHash } from "./common/crypto.ts";
import type { Token } from "./common/token.ts";
import { globusSettings } from "./compose-globus.ts";
import { HostPool } from "./compose-hosts.ts";
import { storesOf } from "./compose-stores.ts";
import { loadSite } from "./config/compile.ts";
import { builtInRegistries } from "./config/registries.ts";
import type { Site } from "./config/types.ts";
import { builtInTransfers } from "./transfer/built-in.ts";
import { createTransferEngine } from "./transfer/engine.ts";
import { compilePolicy } from "./transfer/policy.ts";
import { TransferRegistry } from "./transfer/registry.ts";
import type { TransferEngine } from "./transfer/types.ts";

/** One delivered file, as the job's manifest has it. */
export interface Delivered {
  readonly url: string;
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/**
 * The way to destinations for whoever has the agent's account and its site file: by the same remotes and credentials, and to no place that
 * the site would not deliver to.
 */
export class DeliveredFiles implements AsyncDisposable {
  readonly #engine: TransferEngine;
  readonly #hosts: HostPool;

  private constructor(engine: TransferEngine, hosts: HostPool) {
    this.#engine = engine;
    this.#hosts = hosts;
  }

  /** @throws Fault CONFIG when the file, or a secret that it names, cannot be used by this process. */
  static async open(siteFile: string): Promise<DeliveredFiles> {
    const site = await loadSite(siteFile, builtInRegistries);
    const hosts = new HostPool();
    return new DeliveredFiles(engineOf(site, hosts), hosts);
  }

  /**
   * Verified by digest before it has its final name; a call that was interrupted is continued by the next one for the same file.
   * @throws Fault as the engine's `run`.
   */
  async save(file: Delivered, destination: string, context: CallContext): Promise<void> {
    const root = dirname(destination);
    await mkdir(root, { recursive: true });
    await this.#engine.run(
      {
        token: tokenOf(`${file.sha256} ${destination}`),
        direction: "in",
        root,
        items: [
          {
            name: "output",
            source: file.url,
            target: basename(destination),
            kind: "file",
            required: true,
            mode: "copy",
            expectedSize: file.bytes,
            expectedSha256: file.sha256,
            include: [],
            exclude: [],
          },
        ],
        known: [],
        onFile: async () => {},
      },
      context,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
    await this.#hosts[Symbol.asyncDispose]();
  }
}

function engineOf(site: Site, hosts: HostPool): TransferEngine {
  const { destinations, allow_private } = site.policy;
  const policy = compilePolicy({ sources: destinations, destinations: [], allow_private });
  const ways = { policy, access: hosts.accessOf(site), stores: storesOf(site), globus: globusSettings(site) };
  const own = Object.values(site.adapters).flatMap(({ adapter, options }) =>
    adapter.type === "transfer" ? [adapter.create(options, { policy })] : [],
  );
  const builtIn = Object.values(builtInTransfers).map((create) => create(ways));
  return createTransferEngine({ policy, registry: new TransferRegistry([...builtIn, ...own]), lists: tmpdir() });
}

/** The same for the same file, so that its partial file is found again. */
function tokenOf(text: string): Token {
  const token = `d${createHash("sha256").update(text).digest("hex").slice(0, 14)}`;
  return token as Token;
}
