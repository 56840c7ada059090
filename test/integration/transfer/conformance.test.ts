import { mkdir, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TransferHarness } from "../../../src/conformance/transfer/index.ts";
import { createGlobusTransfer } from "../../../src/transfer/globus/index.ts";
import { createHttpTransfer } from "../../../src/transfer/http/index.ts";
import { createLocalTransfer } from "../../../src/transfer/local/index.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { describeTransfer } from "../../conformance/transfer.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { GlobusServer, ids } from "../../helpers/globus/server.ts";
import type { SshServerOptions } from "../../helpers/engines/ssh-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { rsyncHarness } from "./rsync-harness.ts";
import { store } from "./servers.ts";
import { fileUrl, writeTree } from "./setup.ts";
import { type SftpHarness, sftpHarness } from "./sftp-harness.ts";

describeTransfer("local", async () => {
  const directory = await temporaryDirectory();
  await mkdir(directory.join("data"));
  const rules = [fileUrl(directory.join("data/"))];
  return {
    adapter: createLocalTransfer({ policy: compilePolicy({ sources: rules, destinations: rules }) }),
    url: (path) => `${rules[0] ?? ""}${path}`,
    forbidden: fileUrl(directory.join("elsewhere/x")),
    put: async (path, content) => {
      await writeTree(directory.path, { new: content });
      await mkdir(dirname(directory.join("data", path)), { recursive: true });
      await rename(directory.join("new"), directory.join("data", path));
    },
    get: (path) => readFile(directory.join("data", path)).catch(() => undefined),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
});

describeWithEngine("sshd", "over SSH", () => {
  describeTransfer("sftp", () => far({}));
  describeTransfer("sftp, no commands", () => far({ directives: ["ForceCommand internal-sftp"] }));
});

describeWithEngine("rsync", "over SSH, by rsync", () => {
  describeTransfer("rsync", byRsync);
});

describeTransfer("http", async () => {
  const server = await store();
  const rules = [`${server.url}files/`];
  const adapter = createHttpTransfer({ policy: compilePolicy({ sources: rules, destinations: rules }) });
  return {
    adapter,
    url: (path) => `${server.url}files/${path}`,
    forbidden: `${server.url}elsewhere/x`,
    put: async (path, content) => {
      server.kept.set(`/files/${path}`, Buffer.from(content));
    },
    get: async (path) => server.kept.get(`/files/${path}`),
    [Symbol.asyncDispose]: async () => {
      await adapter[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
});

describeTransfer("globus", async () => {
  const server = await GlobusServer.start();
  const { directory } = server;
  const data = directory.join("far/data");
  await mkdir(data, { recursive: true });
  const rules = [`globus://${ids.far}/data/`];
  const policy = compilePolicy({ sources: rules, destinations: rules });
  await mkdir(directory.join("site"));
  const adapter = createGlobusTransfer({ policy, globus: await server.settings() });
  return {
    adapter,
    url: (path) => `${rules[0] ?? ""}${path}`,
    forbidden: `globus://${ids.far}/elsewhere/x`,
    put: (path, content) => writeTree(data, { [path]: content }),
    get: (path) => readFile(join(data, path)).catch(() => undefined),
    [Symbol.asyncDispose]: async () => {
      await adapter[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
});

async function far(options: SshServerOptions): Promise<TransferHarness> {
  return placeOf(await sftpHarness(options), "sftp");
}

async function byRsync(): Promise<TransferHarness> {
  return { ...placeOf(await rsyncHarness(), "rsync"), anywhere: true };
}

function placeOf(harness: SftpHarness, scheme: string): TransferHarness {
  return {
    adapter: harness.adapter,
    url: (path) => `${harness.url("")}${path}`,
    forbidden: `${scheme}://far/elsewhere/x`,
    put: (path, content) => harness.put(path, content),
    get: (path) => harness.get(path),
    [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose](),
  };
}
