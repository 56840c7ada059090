import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigProblems } from "../../../src/config/problems.ts";
import { type LoadOptions, loadHubFile } from "../../../src/hub/load.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

async function problemsOf(text: string, more: Readonly<Record<string, string>> = {}, options?: LoadOptions) {
  await using directory = await temporaryDirectory();
  for (const [name, content] of Object.entries({ ...more, "hub.yaml": text }))
    await writeFile(directory.join(name), content, { mode: name === "open" ? 0o644 : 0o600 });
  try {
    await loadHubFile(directory.join("hub.yaml"), options);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    return error.problems.map(({ file, ...rest }) => ({ file: file.slice(directory.path.length + 1), ...rest }));
  }
}

const store = "store: { kind: sqlite, path: hub.db }\n";

test("names file, line, column, what is allowed and the nearest word, all at once", async () => {
  const text = `${store}listn: {}\ntokens: { lifetime: soon }\nworkflows:\n  - { id: a, claims: exclusiv }\n`;
  expect(await problemsOf(text)).toEqual([
    expect.objectContaining({ file: "hub.yaml", line: 2, column: 1, path: "listn", nearest: "listen" }),
    expect.objectContaining({ line: 3, column: 21, path: "tokens.lifetime", value: "'soon'" }),
    expect.objectContaining({
      line: 5,
      path: "workflows[0].claims",
      allowed: "nmdc, exclusive",
      nearest: "exclusive",
    }),
  ]);
});

test("looks into presets and secrets before anything starts", async () => {
  const text = `${store}presets: [nmdc, more.yaml, none.yaml]\nadmin: { password: { file: open } }\nworkflows: [{ id: a }, { id: a }]\n`;
  const problems = await problemsOf(text, { "more.yaml": "workflow: []\n", open: "secret\n" });
  expect(problems.map(({ file, line, path }) => [file, line, path])).toEqual([
    ["more.yaml", 1, "workflow"],
    ["hub.yaml", 2, "presets[2]"],
    ["hub.yaml", 3, "admin.password"],
    ["hub.yaml", 4, "workflows[1].id"],
  ]);
  expect(problems[2]?.message).toContain("has mode '0644'");
});

test("a trigger that names what neither file nor presets have is a problem with its place and the nearest word", async () => {
  const text = `${store}presets: [nmdc]
workflows: [{ id: own-1.0.0 }]
object_types: [{ id: own-reads }]
triggers:
  - { object_type: own-read, workflow: own-1.0.0 }
  - { object_type: own-reads, workflow: tset }
  - { object_type: own-reads, workflow: test }
`;
  expect(await problemsOf(text)).toMatchObject([
    {
      file: "hub.yaml",
      line: 6,
      column: 20,
      path: "triggers[0].object_type",
      value: "'own-read'",
      message: "object type 'own-read' is neither in the file nor in its presets",
      allowed: expect.stringContaining("own-reads"),
      nearest: "own-reads",
    },
    {
      line: 7,
      column: 41,
      path: "triggers[1].workflow",
      value: "'tset'",
      allowed: expect.stringContaining("own-1.0.0"),
      nearest: "test",
    },
  ]);
});

test("a trigger or an id that is there twice in one file is a problem, in a preset with the place there", async () => {
  const registry = `workflows: [{ id: a }]\nobject_types: [{ id: reads }, { id: reads, name: Other }]\n`;
  const triggers = `triggers:\n  - { object_type: reads, workflow: a }\n  - { object_type: reads, workflow: a }\n`;
  const problems = await problemsOf(`${store}presets: [more.yaml]\n${triggers}`, {
    "more.yaml": `${registry}triggers: [{ object_type: reads, workflow: b }]\n`,
  });
  expect(problems).toHaveLength(3);
  expect(problems).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ file: "more.yaml", line: 2, path: "object_types[1].id", value: "'reads'" }),
      expect.objectContaining({ file: "more.yaml", line: 3, path: "triggers[0].workflow", value: "'b'", allowed: "a" }),
      expect.objectContaining({
        file: "hub.yaml",
        line: 5,
        column: 5,
        path: "triggers[1]",
        value: "'reads--a'",
        allowed: "each pair of object type and workflow once",
      }),
    ]),
  );
});

test("a file may repeat what its preset has, and triggers may name what only a preset has", async () => {
  const registry = "workflows: [{ id: a }]\nobject_types: [{ id: reads }]\n";
  const trigger = "triggers: [{ object_type: reads, workflow: a }]\n";
  const text = `${store}presets: [more.yaml]\nworkflows: [{ id: a, name: Mine, claims: exclusive }]\n${trigger}`;
  expect(await problemsOf(text, { "more.yaml": `${registry}${trigger}` })).toEqual([]);
});

test("a development hub without presets has those of the NMDC Runtime", async () => {
  const text = "object_types: [{ id: own }]\ntriggers: [{ object_type: own, workflow: test }]\n";
  expect(await problemsOf(text, {}, { dev: true })).toEqual([]);
  expect(await problemsOf(`${text}presets: []\n`, {}, { dev: true })).toMatchObject([
    { path: "triggers[0].workflow", allowed: "nothing: there is none" },
  ]);
});

test("takes secrets from systemd credentials too", async () => {
  const text = "store: { kind: postgres, url: { credential: database } }\n";
  expect(await problemsOf(text, {}, { env: {} })).toMatchObject([
    { path: "store.url", message: expect.stringContaining("CREDENTIALS_DIRECTORY is not set") },
  ]);
  await using credentials = await temporaryDirectory();
  await writeFile(join(credentials.path, "database"), "postgres://127.0.0.1/x\n", { mode: 0o400 });
  expect(await problemsOf(text, {}, { env: { CREDENTIALS_DIRECTORY: credentials.path } })).toEqual([]);
});

test("a development hub brings its own store, a hub in earnest needs one", async () => {
  expect(await problemsOf("docs: false\n", {}, { dev: true })).toEqual([]);
  expect(await problemsOf("docs: false\n")).toMatchObject([{ path: "store", message: "'store' is missing" }]);
});

test("gives the data as it is written, for a hub that starts in the file's directory", async () => {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("hub.yaml"), `${store}tokens: { lifetime: 2h }\n`);
  const loaded = await loadHubFile(directory.join("hub.yaml"));
  expect(loaded.directory).toBe(directory.path);
  expect(loaded.input).toEqual({ store: { kind: "sqlite", path: "hub.db" }, tokens: { lifetime: "2h" } });
  expect(loaded.settings.tokens.lifetime).toBe(7_200_000);
});
