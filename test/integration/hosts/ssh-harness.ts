import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { SshHost } from "../../../src/hosts/ssh/index.ts";
import { SshLink } from "../../../src/hosts/ssh/link.ts";
import type { SshSettings } from "../../../src/hosts/ssh/settings.ts";
import type { HostHarness } from "../../../src/conformance/host/index.ts";
import { shell } from "../../../src/conformance/host/commands.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import { SshServer, type SshServerOptions } from "../../helpers/engines/ssh-server.ts";

/** A host at the other end of a connection to this machine. */
export interface SshHarness extends HostHarness {
  readonly host: SshHost;
  readonly server: SshServer;
  readonly link: SshLink;
}

/** A host by these settings, whose workdir lies in the server's directory. */
export function hostBy(server: SshServer, settings: SshSettings): SshHarness {
  const link = new SshLink(settings);
  const host = new SshHost({ name: "login", workdir: server.directory.join("work"), link });
  return {
    host,
    link,
    server,
    root: server.directory.path,
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]();
      await link[Symbol.asyncDispose]();
    },
  };
}

/** A server of its own and a host there; both end with it. */
export async function sshHarness(
  options: SshServerOptions = {},
  change: (server: SshServer) => Partial<SshSettings> = () => ({}),
): Promise<SshHarness> {
  const server = await SshServer.start(options);
  const harness = hostBy(server, server.settings(change(server)));
  return {
    ...harness,
    async [Symbol.asyncDispose]() {
      await harness[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Sees as much time pass as a test says, on top of the real one. */
export function hasty(): { readonly context: CallContext; readonly pass: (ms: number) => void } {
  let ahead = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ahead };
  return {
    context: { ...callContext(), clock },
    pass: (ms) => {
      ahead += ms;
    },
  };
}

/** The output of a command there, or the fault that was thrown. */
export async function tried(server: SshServer, change: Partial<SshSettings> = {}): Promise<unknown> {
  await using harness = hostBy(server, server.settings(change));
  return await harness.host.run(shell("/", "echo in"), callContext()).then(
    ({ stdout }) => stdout,
    (error: unknown) => error,
  );
}

/** The fault of a server that may not be the right one: nothing was begun. */
export const wrongKey = { code: "UNREACHABLE", details: { why: "host-key", started: "no" } } as const;
