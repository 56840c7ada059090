/** Modules of a site's own adapters, as thin shells around ours: whatever ours can do, they can. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repository } from "../../helpers/cli.ts";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";

const ours = (path: string): string => JSON.stringify(join(repository, "src", path));

/** `around` changes the host before it is given away. */
export const hostModule = (around = "host"): string => `
import { LocalHost } from ${ours("hosts/local/index.ts")};

export const siteagentAdapter = {
  contract: 1,
  type: "host",
  create: (_options, place) => {
    const host = new LocalHost(place);
    return ${around};
  },
  rehearse: async () => ({}),
};
`;

export const launcherModule = `
import { createLocalLauncher } from ${ours("launchers/local/index.ts")};
import { z } from "siteagent/adapter";

export const siteagentAdapter = {
  contract: 1,
  type: "launcher",
  allocation: false,
  options: z.strictObject({ idle: z.int().default(20_000) }),
  create: ({ idle }, { stateDirectory }) => createLocalLauncher({ stateDirectory, idleMs: idle }),
  rehearse: async () => ({ options: { idle: 500 } }),
};
`;

/** Files of one directory, by URLs like copy://store/a/b. */
export const transferModule = `
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { Fault, z } from "siteagent/adapter";
import { createLocalTransfer } from ${ours("transfer/local/index.ts")};
import { compilePolicy } from ${ours("transfer/policy.ts")};

const place = "copy://store/";

export const siteagentAdapter = {
  contract: 1,
  type: "transfer",
  schemes: ["copy"],
  options: z.strictObject({ root: z.string() }),
  create: ({ root }) => {
    const rules = [pathToFileURL(root).href + "/"];
    const local = createLocalTransfer({ policy: compilePolicy({ sources: rules, destinations: rules }) });
    const there = (url) => {
      if (url.startsWith(place)) return rules[0] + url.slice(place.length);
      throw new Fault("POLICY", url + " is nothing of the store");
    };
    return {
      kind: "copy",
      schemes: ["copy"],
      capabilities: local.capabilities,
      probe: (context) => local.probe(context),
      list: async (url, ...more) => local.list(there(url), ...more),
      read: async (url, ...more) => local.read(there(url), ...more),
      write: async (url, ...more) => local.write(there(url), ...more),
      verify: async (url, ...more) => local.verify(there(url), ...more),
      [Symbol.asyncDispose]: () => local[Symbol.asyncDispose](),
    };
  },
  rehearse: async ({ directory }) => {
    const root = join(directory, "store");
    await mkdir(root);
    return {
      options: { root },
      sources: [place],
      destinations: [place],
      forbidden: "copy://elsewhere/x",
      url: (path) => place + path,
      put: async (path, content) => {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(directory, "new"), content);
        await rename(join(directory, "new"), join(root, path));
      },
      get: (path) => readFile(join(root, path)).catch(() => undefined),
    };
  },
};
`;

/** Absolute path of the module, written so that only its owner can change it. */
export async function writeModule(directory: TemporaryDirectory, name: string, text: string): Promise<string> {
  const path = directory.join(name);
  await writeFile(path, text, { mode: 0o600 });
  return path;
}
