import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { agentPlace, siteFileFault } from "../../../src/cli/agent-place.ts";
import { Options } from "../../../src/cli/options.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

async function placeOf(text: string) {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("site.yaml"), text);
  const env = { SITEAGENT_RUNTIME_DIR: "/usual" };
  const found = await agentPlace({ env, cwd: directory.path }, new Options({ config: "site.yaml" }));
  return { ...found, socket: found.socket.replace(directory.path, ".") };
}

test.each([
  ["a file without faults", "agent: { runtime_dir: /own }\n", "/own/agent.sock", true],
  ["a directory beside the file", "agent: { runtime_dir: here/../run }\n", "./run/agent.sock", true],
  ["unknown keys and wrong values", "surprise: 1\nagent: { runtime_dir: /own, keep: soon }\n", "/own/agent.sock", true],
  ["text that breaks after it", "agent:\n  runtime_dir: /own\napps: [1, {\n", "/own/agent.sock", true],
  ["none named", "site: lab-a\n", "/usual/agent.sock", true],
  ["text that breaks before it", "a: [\nb: }\n", "/usual/agent.sock", false],
  ["something else than text", "agent: { runtime_dir: [1] }\n", "/usual/agent.sock", false],
])("finds the runtime directory of a site file: %s", async (_, text, socket, certain) => {
  expect(await placeOf(text)).toMatchObject({ socket, certain });
});

test("takes the named socket without a look at the site file", async () => {
  const env = { SITEAGENT_CONFIG: "/nowhere/site.yaml" };
  expect(await agentPlace({ env, cwd: "/" }, new Options({ socket: "/own.sock" }))).toEqual({
    socket: "/own.sock",
    siteFile: undefined,
    certain: true,
  });
});

test("refuses a named site file that is not there: the usual agent may be another one", async () => {
  await expect(agentPlace({ env: {}, cwd: "/" }, new Options({ config: "/nowhere/site.yaml" }))).rejects.toMatchObject({
    code: "CONFIG",
    message: "there is no site file '/nowhere/site.yaml'",
  });
});

test("does not blame a site file for secrets that only the agent's unit can read", async () => {
  await using directory = await temporaryDirectory();
  const file = directory.join("site.yaml");
  const head = `site: lab-a\napi: { url: "https://api.example.org", client_id: x, client_secret: { credential: token } }\n`;
  const targets = "hosts: { here: {} }\ntargets: { local: { host: here, launcher: local, slots: 1 } }\n";
  await writeFile(file, `${head}${targets}apps: {}\n`);
  expect(await siteFileFault(file, {})).toBeUndefined();
  await writeFile(file, `${head}${targets}apps: { one: { workflow: w, command: [/bin/true], target: lcoal } }\n`);
  const fault = await siteFileFault(file, {});
  expect(fault?.message).toMatch(/has 1 problem:\n.*'lcoal'/);
});
