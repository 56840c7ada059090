/** Every kind of bad input names file, line, column, value, what is allowed and the nearest word. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { head, problemsOf, rawProblemsOf, writeSecret } from "./files.ts";
import { loadSite, parseSite } from "../../../src/config/compile.ts";
import { ConfigProblems } from "../../../src/config/problems.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import { isFault } from "../../../src/common/fault.ts";
import { writeFile } from "node:fs/promises";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

describe("text that is no YAML of ours", () => {
  it.each<[string, string, RegExp]>([
    ["a key twice", "site: a\nsite: b\n", /^site\.yaml:2:1: a key that is there twice/],
    ["a broken mapping", "site: [a\napi: {}\n", /^site\.yaml:2:/],
    ["a tab", "site:\n\t- a\n", /^site\.yaml:2:1: /],
    ["two documents", "site: a\n---\nsite: b\n", /^site\.yaml:2:1: more than one YAML document/],
    ["an unknown tag", "site: !env HOME\n", /^site\.yaml:1:7: Unresolved tag: !env/],
    ["an unknown alias", "site: *nobody\n", /nobody/],
    [
      "a billion laughs",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n`,
      /Excessive alias count/,
    ],
    ["absurd nesting", `site: ${"[".repeat(5000)}${"]".repeat(5000)}\n`, /nested/],
    ["deep nesting", `site: ${"[".repeat(80)}${"]".repeat(80)}\n`, /nested deeper than 64 levels/],
    ["an empty file", "", /'site' is missing/],
    ["a list", "- a\n", /a list with 1 entry does not fit; allowed: a mapping|expected/],
  ])("refuses %s", async (_what, text, message) => {
    expect((await problemsOf(directory, text)).join("\n")).toMatch(message);
  });

  it.each<[string, string | Buffer | undefined, RegExp]>([
    ["a file that is not there", undefined, /no such file/],
    ["bytes that are no UTF-8", Buffer.from([0x73, 0xff, 0xfe]), /is not UTF-8 text/],
    ["a file of 5 MB", "#".repeat(5_000_000), /5000000 bytes; at most 4194304 are read/],
  ])("refuses %s", async (_what, content, message) => {
    if (content !== undefined) await writeFile(directory.join("site.yaml"), content);
    const error: unknown = await loadSite(directory.join("site.yaml"), builtInRegistries).catch(
      (caught: unknown) => caught,
    );
    expect(isFault(error, "CONFIG")).toBe(true);
    expect(String(error)).toMatch(message);
  });
});

describe("values that do not fit the schema", () => {
  it("names all of them at once, in the order of the text", async () => {
    const text = `site: lab a
api: {url: https://x.example.org, clientid: a, client_secret: hunter2, poll: 5 parsecs, dialect: hubb}
hosts:
  here: {workdir: 7}
targets:
  local: {host: here, launcher: local, slots: 0}
apps:
  9a: {}
  b:
    workflow: w
    command: []
    target: local
    parameters: {p: {type: strin}, q: {type: string, patern: x}}
    hooks: {preprocess: {comand: [x]}, prep: {}}
    retry: {on: [timout], attempts: many}
    runtime: ptty
    max_output: 1 stone
    umask: 027
`;
    expect(await problemsOf(directory, text)).toEqual([
      "site.yaml:1:7: site: 'lab a' does not fit; allowed: a name: letters, digits, _ . -, at most 128",
      "site.yaml:2:1: api.client_id: 'client_id' is missing; allowed: text (id of the site's client, as central gave it)",
      "site.yaml:2:35: api.clientid: unknown key 'clientid'; allowed: url, client_id, client_secret, dialect, poll, timeout, ca_file, allow_http; nearest: 'client_id'",
      "site.yaml:2:63: api.client_secret: a secret is never written into this file; allowed: {file: …} or {credential: …} (where the secret lies: {file: PATH} or {credential: NAME})",
      "site.yaml:2:78: api.poll: '5 parsecs' is not a duration; allowed: 250ms, 10s, 5m, 2h, 1d, 1h30m, D-HH:MM:SS",
      "site.yaml:2:98: api.dialect: 'hubb' does not fit; allowed: auto, nmdc, hub; nearest: 'hub'",
      "site.yaml:4:19: hosts.here.workdir: '7' does not fit; allowed: text (directory below which all directories of jobs lie; default: <state_dir>/work; absolute, and needed, for a host by SSH)",
      "site.yaml:6:47: targets.local.slots: '0' does not fit; allowed: at least 1",
      "site.yaml:8:3: apps.9a: '9a' is not a name that can be used; allowed: a name: a letter, then letters, digits, _ or -, at most 64",
      "site.yaml:11:14: apps.b.command: a list with 0 entries does not fit; allowed: a list with at least 1",
      "site.yaml:13:28: apps.b.parameters.p.type: 'strin' does not fit; allowed: string, integer, number, boolean, secret; nearest: 'string'",
      "site.yaml:13:54: apps.b.parameters.q.patern: unknown key 'patern'; allowed: type, description, from, required, default, pattern, enum, min_length, max_length, allow_leading_dash; nearest: 'pattern'",
      "site.yaml:14:13: apps.b.hooks.preprocess.command: 'command' is missing; allowed: a list (argv, run on the target's host in the work directory)",
      "site.yaml:14:26: apps.b.hooks.preprocess.comand: unknown key 'comand'; allowed: command, timeout, module; nearest: 'command'",
      "site.yaml:14:40: apps.b.hooks.prep: unknown key 'prep'; allowed: preprocess, postprocess, handle_error, handle_timeout",
      "site.yaml:15:18: apps.b.retry.on[0]: 'timout' does not fit; allowed: one of timeout, node, oom, launch, status-lost, exit, exit:CODE, signal, signal:NAME",
      "site.yaml:15:37: apps.b.retry.attempts: 'many' does not fit; allowed: a whole number (tries in all; lost allocations do not count)",
      "site.yaml:16:14: apps.b.runtime: 'ptty' does not fit; allowed: plain, pty; nearest: 'pty'",
      "site.yaml:17:17: apps.b.max_output: '1 stone' is not a size; allowed: a number of bytes, or with KiB, MiB, GiB, TiB, kB, MB, GB, TB",
      `site.yaml:18:12: apps.b.umask: '27' does not fit; allowed: text (three octal digits in quotes, as "027")`,
    ]);
  });

  it("names what does not fit each other in the same go", async () => {
    const text = `${head}aps: {}
policy: {sources: [htp://x/]}
apps:
  a: {workflow: w, command: [x], target: locl, retrry: {}}
  b: {workflow: v, command: x, target: locl}
`;
    const problems = await rawProblemsOf(directory, text);
    expect(problems.map(({ path }) => path)).toEqual([
      "aps",
      "policy.sources[0]",
      "apps.a.target",
      "apps.a.retrry",
      "apps.b.command",
    ]);
  });

  it("throws nothing but problems, whatever is written", fuzzing, async () => {
    await writeSecret(directory);
    const good = `${head}remotes: {ar: {url: "https://a.example.org/"}}
apps: {b: {workflow: w, command: [x, "{{p}}"], target: local, parameters: {p: {type: string}}, inputs: {i: {from: "ar:/{{p}}", to: i}}}}
`;
    const word = fc.constantFrom(
      "{{",
      "}}",
      "{",
      "}",
      "[",
      "]",
      ":",
      "&a ",
      "*a",
      "- ",
      "\n",
      " ",
      "'",
      "!x ",
      "null",
      "-1",
      "__proto__: 1",
      "<<",
      "\0",
      "💥",
    );
    const edit = fc.tuple(fc.nat({ max: good.length }), fc.nat({ max: 30 }), word);
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { maxLength: 4 }), async (edits) => {
        let text = good;
        for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        const file = directory.join("site.yaml");
        const result: unknown = await parseSite(text, file, builtInRegistries, { env: {} }).catch(
          (error: unknown) => error,
        );
        if (result instanceof Error) expect(result).toBeInstanceOf(ConfigProblems);
      }),
      fuzz(300),
    );
  });

  it("never shows a secret that somebody wrote into the file", async () => {
    for (const value of [
      "hunter2",
      "{value: hunter2}",
      "{file: [hunter2]}",
      "[hunter2]",
      "{credential: 'hunter 2 hunter2'}",
    ]) {
      const text = `site: a\napi: {url: https://x.example.org, client_id: a, client_secret: ${value}}\napps: {}\n`;
      const problems = await rawProblemsOf(directory, text);
      expect(problems.length).toBeGreaterThan(0);
      expect(JSON.stringify(problems)).not.toContain("hunter2");
    }
  });
});

describe("secrets", () => {
  const text = `${head}apps: {}\n`;
  it.each<[string, string, number, RegExp]>([
    ["readable by the group", "x", 0o640, /has mode '0640', allowed are 0600 and 0400; allowed: chmod 600 '/],
    ["readable by all", "x", 0o604, /has mode '0604'/],
    ["empty", "\n", 0o600, /is empty/],
    ["a megabyte long", "x".repeat(1_000_000), 0o600, /'1000000' bytes/],
  ])("refuses a file that is %s", async (_what, content, mode, message) => {
    await writeSecret(directory, content, mode);
    await writeFile(directory.join("site.yaml"), text);
    await expect(loadSite(directory.join("site.yaml"), builtInRegistries, { env: {} })).rejects.toThrow(message);
  });

  it("refuses a file that is not there, and a directory", async () => {
    const missing = text.replace("{file: secret}", "{file: nothing}");
    expect((await problemsOf(directory, missing))[0]).toMatch(
      /^site\.yaml:2:71: api\.client_secret: the secret 'nothing' cannot be read: ENOENT/,
    );
    expect((await problemsOf(directory, text.replace("{file: secret}", "{file: .}")))[0]).toMatch(
      /is not a plain file/,
    );
  });

  it("finds systemd credentials, and says when there are none", async () => {
    const credential = text.replace("{file: secret}", "{credential: api}");
    expect((await problemsOf(directory, credential))[0]).toMatch(
      /credential 'api' cannot be found: CREDENTIALS_DIRECTORY is not set/,
    );
  });
});
