import { mkdir, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { runRemotely } from "../../../src/hosts/ssh/run.ts";
import { SftpSession } from "../../../src/hosts/ssh/sftp.ts";
import { streamRemotely } from "../../../src/hosts/ssh/stream.ts";
import { SshLink } from "../../../src/hosts/ssh/link.ts";
import type { SshSettings } from "../../../src/hosts/ssh/settings.ts";
import { createSftpTransfer } from "../../../src/transfer/sftp/index.ts";
import type { FindAccess } from "../../../src/transfer/sftp/place.ts";
import type { SftpAccess, SftpSettings } from "../../../src/transfer/sftp/types.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { compilePolicy, type PolicyInput } from "../../../src/transfer/policy.ts";
import { SshServer, type SshServerOptions } from "../../helpers/engines/ssh-server.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import { Relay, type RelayOptions } from "../../helpers/relay.ts";
import { sha256, writeTree } from "./setup.ts";

/** A server that holds `data/` in its directory, and the adapter's way to it under the name `far`. */
export interface SftpHarness extends AsyncDisposable {
  readonly server: SshServer;
  /** Stands before the server if the harness was asked for it. */
  readonly proxy: FaultProxy | undefined;
  readonly link: SshLink;
  readonly access: SftpAccess;
  readonly find: FindAccess;
  readonly adapter: TransferAdapter;
  readonly policy: PolicyInput;
  /** Absolute path below `data/`. */
  path(name: string): string;
  /** URL of the same. */
  url(name: string): string;
  put(name: string, content: string | Uint8Array): Promise<void>;
  get(name: string): Promise<Buffer | undefined>;
  /** SHA-256 of what lies there; comparing large buffers member by member takes the tests seconds. */
  digest(name: string): Promise<string | undefined>;
}

export const usualSettings: SftpSettings = { verify: "digest", existing: "replace", shell: true, preserve: false };

/** A way to a server, as the site file would describe it. */
export function accessTo(
  settings: SshSettings,
  change: Partial<SftpSettings> = {},
): { readonly link: SshLink; readonly access: SftpAccess } & AsyncDisposable {
  const link = new SshLink(settings);
  const files = new SftpSession(link);
  return {
    link,
    access: {
      label: "far",
      settings: { ...usualSettings, ...change },
      files,
      run: (command, context) => runRemotely(link, command, context),
      stream: (command, context) => streamRemotely(link, command, context),
    },
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]();
      await link[Symbol.asyncDispose]();
    },
  };
}

export async function sftpHarness(
  options: SshServerOptions = {},
  change: Partial<SftpSettings> & {
    readonly proxied?: boolean;
    readonly line?: RelayOptions;
    readonly ssh?: Partial<SshSettings>;
  } = {},
): Promise<SftpHarness> {
  const server = await SshServer.start(options);
  const { ssh, proxied = false, line, ...settings } = change;
  const relay = line && (await Relay.start(server.port, line));
  const proxy = proxied ? await FaultProxy.start(relay?.port ?? server.port) : undefined;
  if (proxy) await server.know(await server.knownLine("ed25519", `[127.0.0.1]:${proxy.port}`));
  const way = accessTo(server.settings({ ...(proxy && { port: proxy.port }), ...ssh }), settings);
  const data = server.directory.join("data");
  await mkdir(data);
  const rules = [`sftp://far${data}/`];
  const policy = { sources: rules, destinations: rules };
  const find = (): SftpAccess => way.access;
  return {
    server,
    proxy,
    link: way.link,
    access: way.access,
    find,
    policy,
    adapter: createSftpTransfer({ policy: compilePolicy(policy), access: find }),
    path: (name) => (name === "" ? data : `${data}/${name}`),
    url: (name) => `sftp://far${data}/${name.split("/").map(encodeURIComponent).join("/")}`,
    put: async (name, content) => {
      await writeTree(server.directory.path, { new: content });
      await mkdir(dirname(`${data}/${name}`), { recursive: true });
      await rename(server.directory.join("new"), `${data}/${name}`);
    },
    get: (name) => readFile(`${data}/${name}`).catch(() => undefined),
    digest: (name) => readFile(`${data}/${name}`).then(sha256, () => undefined),
    async [Symbol.asyncDispose]() {
      await way[Symbol.asyncDispose]();
      await proxy?.[Symbol.asyncDispose]();
      await relay?.[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
