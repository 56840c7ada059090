import { realpath, stat } from "node:fs/promises";
import { relative } from "node:path";
import type { Central } from "../central/types.ts";
import { isFault, Fault } from "../common/fault.ts";
import type { CallContext } from "../common/context.ts";
import { isToken } from "../common/token.ts";
import type { Probe } from "../common/adapter.ts";
import type { FileContent, RemoteFile, TransferAdapter } from "../transfer/types.ts";
import { jobDirectories } from "./directories.ts";
import type { HeldJob } from "./held-job.ts";

/** Scheme of outputs that the app gives no destination: `siteagent://hub/<job token>/<output>[/path]`. */
export const hubScheme = "siteagent";

/**
 * Uploads outputs to the hub through the central client. What the hub does not take (a plain NMDC Runtime, a file above its cap)
 * stays in the job's work directory: that is no failure, and `wasKept` tells it apart.
 */
export class HubOutputs implements TransferAdapter {
  readonly kind = "hub";
  readonly schemes = [hubScheme];
  readonly capabilities = { resume: false, list: false, write: true, digest: true };
  #central: Central | undefined;
  #jobByToken: (token: string) => HeldJob | undefined = () => undefined;
  readonly #written = new Map<string, { bytes: number; sha256: string }>();
  readonly #kept = new Set<string>();

  /** Said by the agent at start: where uploads go and how its jobs are found. Before that no URL belongs to a job. */
  connect(central: Central, jobByToken: (token: string) => HeldJob | undefined): void {
    this.#central = central;
    this.#jobByToken = jobByToken;
  }

  async probe(): Promise<Probe> {
    return this.#central?.capabilities.outputs
      ? { ok: true, version: this.#central.dialect }
      : { ok: false, reason: "the central API takes no outputs; they stay on the site" };
  }

  wasKept(url: string): boolean {
    return this.#kept.has(url);
  }

  /** Forgets what was moved for a job. */
  forget(token: string): void {
    const prefix = `${hubScheme}://hub/${token}/`;
    for (const url of this.#written.keys()) if (url.startsWith(prefix)) this.#written.delete(url);
    for (const url of this.#kept) if (url.startsWith(prefix)) this.#kept.delete(url);
  }

  async list(url: string): Promise<readonly RemoteFile[]> {
    throw new Fault("TRANSFER_REFUSED", `'${url}' is no source: outputs go to the hub, inputs do not come from there`);
  }

  async read(url: string): Promise<AsyncIterable<Uint8Array>> {
    throw new Fault("TRANSFER_REFUSED", `'${url}' is no source: outputs go to the hub, inputs do not come from there`);
  }

  async write(url: string, localPath: string, info: FileContent, context: CallContext): Promise<void> {
    const [, token = "", output = ""] = /^siteagent:\/\/hub\/([a-z0-9]+)\/([^/]+)(?:\/.*)?$/.exec(url) ?? [];
    const job = isToken(token) ? this.#jobByToken(token) : undefined;
    if (!job) throw new Fault("TRANSFER_REFUSED", `'${url}' belongs to no job of this site`);
    this.#written.set(url, { bytes: info.bytes, sha256: info.sha256 });
    const central = this.#central;
    if (!central?.capabilities.outputs) {
      this.#kept.add(url);
      return;
    }
    try {
      // The hub knows a file by the path that the manifest has; the engine hands over the open file, not its name. Work
      // directories often lie behind a link (/scratch).
      const name = relative(await realpath(jobDirectories(job).work), await realpath(localPath));
      await central.putOutput({ job: job.id, epoch: job.epoch, output, path: name, localPath, ...info }, context);
    } catch (error) {
      if (!isFault(error, "TOO_LARGE")) throw error;
      const { size } = await stat(localPath);
      context.log.info({ url, bytes: size }, "an output is above the hub's cap and stays on the site");
      this.#kept.add(url);
    }
  }

  async verify(url: string): Promise<FileContent | undefined> {
    return this.#written.get(url);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
