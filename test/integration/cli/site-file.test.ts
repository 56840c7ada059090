import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { repository } from "../../helpers/cli.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";

let shell: Shell;
beforeEach(async () => {
  shell = new Shell(await temporaryDirectory("sa-site-"));
});
afterEach(async () => {
  await shell.directory[Symbol.asyncDispose]();
});

const answers = ["--site", "lab-a", "--api", "http://127.0.0.1:9", "--client-id", "sys0abc", "--secret-file", "-"];

function init(...more: string[]) {
  return shell.run(["init", ...answers, ...more], { input: "very secret\n" });
}

describe("siteagent init", () => {
  test("names the missing flags where nobody can answer, and writes nothing", async () => {
    const { stdout, stderr, code } = await shell.run(["init", "--site", "lab-a", "-o", "json"]);
    expect(code).toBe(64);
    expect(stdout).toBe("");
    expect(JSON.parse(stderr)).toMatchObject({
      error: { details: { missing: ["--api", "--client-id", "--secret-file"] } },
    });
    await expect(stat(shell.siteFile)).rejects.toThrow("ENOENT");
  });

  test("writes a commented file for this account only, which validates, and ends with the doctor", async () => {
    const { stdout, code } = await init("--example-app", "--slots", "3", "--source", "https://data.example.org/");
    expect(code).toBe(0);
    expect(stdout).toContain("This machine");
    const text = await readFile(shell.siteFile, "utf8");
    expect(text).toMatch(/^# yaml-language-server: \$schema=\/.*site\.schema\.json\n/);
    expect(text).not.toContain("very secret");
    const schema = /\$schema=(\S+)/.exec(text)?.[1] ?? "";
    expect(JSON.parse(await readFile(schema, "utf8"))).toHaveProperty("properties");
    for (const file of [shell.siteFile, shell.directory.join("config", "client-secret")]) {
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    }
    expect(await shell.run(["validate"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("site 'lab-a', 1 app, 1 target"),
    });
    const shown = (await shell.json("config", "show")) as {
      settings: { path: string; value: unknown; origin: string }[];
    };
    const of = (path: string) => shown.settings.find((setting) => setting.path === path);
    expect(of("targets.local.slots")).toMatchObject({ value: 3, origin: expect.stringMatching(/site\.yaml:\d+$/) });
    expect(of("api.poll")).toMatchObject({ origin: "default" });
    expect(JSON.stringify(shown)).not.toContain("very secret");
  });

  test("without the example app gives a file that validates too", async () => {
    expect((await init("--no-doctor")).code).toBe(0);
    expect((await shell.run(["validate"])).code).toBe(0);
  });

  test("never replaces a file without --force", async () => {
    await init("--no-doctor");
    const before = await readFile(shell.siteFile, "utf8");
    const again = await init("--no-doctor", "--slots", "7");
    expect(again).toMatchObject({ code: 73, stderr: expect.stringContaining("--force") });
    expect(await readFile(shell.siteFile, "utf8")).toBe(before);
    expect((await init("--no-doctor", "--slots", "7", "--force")).code).toBe(0);
    expect(await readFile(shell.siteFile, "utf8")).toContain("slots: 7");
  });

  test("refuses answers that make no site file, and leaves none", async () => {
    const bad = await shell.run(["init", ...answers, "--site", "two words"], { input: "s\n" });
    expect(bad).toMatchObject({ code: 64, stderr: expect.stringContaining("'two words'") });
    await expect(stat(shell.siteFile)).rejects.toThrow("ENOENT");
  });

  test("writes odd answers as text, never as something else of YAML", async () => {
    const odd = ["--source", "https://data.example.org/yes/no:/", "--client-id", "123", "--workdir", "./a: b"];
    expect(await init("--no-doctor", ...odd)).toMatchObject({ code: 0 });
    const { settings } = (await shell.json("config", "show")) as { settings: { path: string; value: unknown }[] };
    expect(settings.find(({ path }) => path === "api.client_id")?.value).toBe("123");
    expect(settings.find(({ path }) => path === "hosts.here.workdir")?.value).toBe(shell.directory.join("a: b"));
  });
});

describe("siteagent validate", () => {
  test("takes the example of the repository apart from its secret", async () => {
    const { stdout, code } = await shell.run(["validate", `${repository}/config/site.example.yaml`, "-o", "json"]);
    const report = JSON.parse(stdout) as { valid: boolean; problems: { path: string }[] };
    expect(report.problems.filter(({ path }) => !path.includes("secret"))).toEqual([]);
    expect(code).toBe(report.valid ? 0 : 78);
  });

  test("tells all problems at once, each with its place and the nearest word", async () => {
    await init("--no-doctor", "--example-app");
    const text = await readFile(shell.siteFile, "utf8");
    await writeFile(
      shell.siteFile,
      text.replace("workflow: hello", "workflov: hello").replace("walltime: 1m", "walltime: soon"),
    );
    const { stdout, stderr, code } = await shell.run(["validate"]);
    expect(code).toBe(78);
    expect(stdout).toMatch(/site\.yaml:\d+:\d+: .*workflov.*nearest: 'workflow'/);
    expect(stdout).toMatch(/site\.yaml:\d+:\d+: .*'soon'/);
    expect(stderr).toMatch(/[23] problems/);
  });

  test("names a file that is not there", async () => {
    expect(await shell.run(["validate", "nowhere.yaml"])).toMatchObject({
      code: 78,
      stdout: expect.stringContaining("nowhere.yaml"),
    });
    expect(await shell.run(["run"])).toMatchObject({ code: 78, stderr: expect.stringContaining("siteagent init") });
  });
});

describe("siteagent config schema", () => {
  test.each(["site", "hub"])("prints the schema of %s as JSON", async (which) => {
    const { stdout, code } = await shell.run(["config", "schema", which]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ type: "object", properties: expect.any(Object) });
  });
  test("knows no other", async () => {
    expect(await shell.run(["config", "schema", "sit"])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("did you mean 'site'?"),
    });
  });
});

interface Report {
  readonly exit: number;
  readonly checks: readonly {
    readonly id: string;
    readonly result: string;
    readonly found: string;
    readonly why?: string;
    readonly repair?: string;
  }[];
}

async function doctor(
  env: Readonly<Record<string, string>> = {},
): Promise<Report & { find(id: string): Report["checks"][number] | undefined }> {
  const { stdout, code } = await shell.run(["doctor", "-o", "json"], { env });
  const report = JSON.parse(stdout) as Report;
  expect(report.exit).toBe(code);
  return { ...report, find: (id) => report.checks.find((check) => check.id === id) };
}

describe("siteagent doctor", () => {
  test("makes many checks; what is not well has a reason and a repair", async () => {
    const report = await doctor();
    expect(report.checks.length).toBeGreaterThanOrEqual(25);
    expect(report.exit).toBe(2);
    expect(report.find("config")).toMatchObject({ result: "error", repair: "siteagent init" });
    for (const check of report.checks) {
      if (check.result === "ok" || check.result === "skipped") continue;
      expect(check.why, check.id).toMatch(/\w/);
      expect(check.repair, check.id).toMatch(/\w/);
    }
    const { stdout } = await shell.run(["doctor"]);
    expect(stdout).toMatch(/✖ error +Site file: .* is not there\n.*\n +→ siteagent init\n/);
    expect(stdout).toMatch(/\d+ checks: \d+ ok/);
  });

  test("finds an open secret, an open site file and a missing command", async () => {
    await init("--no-doctor", "--example-app");
    const text = await readFile(shell.siteFile, "utf8");
    await writeFile(shell.siteFile, text.replace("/bin/echo", "no-such-program"));
    await chmod(shell.siteFile, 0o666);
    const open = await doctor();
    expect(open.find("config-mode")).toMatchObject({ result: "error", repair: `chmod 600 ${shell.siteFile}` });
    expect(open.find("apps")).toMatchObject({ result: "warning", found: expect.stringContaining("'no-such-program'") });
    await chmod(shell.directory.join("config", "client-secret"), 0o644);
    const leaking = await doctor();
    const told = [leaking.find("secret"), leaking.find("config")].filter((check) => check?.result === "error");
    expect(JSON.stringify(told)).toContain("0644");
  });

  test("finds directories that others can look into, and a central that does not answer", async () => {
    await init("--no-doctor");
    await mkdir(shell.directory.join("state"), { mode: 0o755 });
    await chmod(shell.directory.join("state"), 0o755);
    const report = await doctor();
    expect(report.find("state-dir")).toMatchObject({
      result: "warning",
      repair: `chmod 700 ${shell.directory.join("state")}`,
    });
    expect(report.find("api")).toMatchObject({ result: "error", why: expect.stringContaining("not harmed") });
    expect(report.find("apps")).toMatchObject({ result: "warning", found: "no app is registered" });
  });

  test("finds a locale, a PATH and a proxy that are odd", async () => {
    const report = await doctor({
      LANG: "C",
      PATH: `${process.env["PATH"] ?? ""}:.`,
      HTTPS_PROXY: "http://proxy.example",
    });
    expect(report.find("locale")).toMatchObject({ result: "warning" });
    expect(report.find("path")).toMatchObject({ result: "warning", found: "holds '.'" });
    expect(report.find("proxy")).toMatchObject({ result: "warning", found: "HTTPS_PROXY set" });
  });

  test("is what run --dry-run shows", async () => {
    await init("--no-doctor");
    const { stdout, code } = await shell.run(["run", "--dry-run"]);
    expect(stdout).toContain("Central API");
    expect(code).toBe(2);
  });
});

describe("siteagent plan", () => {
  beforeEach(async () => {
    await init("--no-doctor", "--example-app");
  });

  test("shows the command line and says yes", async () => {
    await writeFile(
      shell.directory.join("job.json"),
      JSON.stringify({ workflow: "hello-1.0.0", config: { name: "you all" } }),
    );
    const { stdout, code } = await shell.run(["plan", "job.json"]);
    expect(code).toBe(0);
    expect(stdout).toContain("/bin/echo 'hello you all'");
    expect(stdout).toContain("this site would run it");
  });

  test("names what it would refuse", async () => {
    const input = JSON.stringify({ workflow: { id: "hello-1.0.0" }, config: { name: "$(rm)" } });
    const { stdout, code } = await shell.run(["plan", "-", "-o", "json"], { input });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ app: "hello", refused: [expect.stringContaining("'$(rm)'")] });
    expect(await shell.run(["plan", "-"], { input: "{" })).toMatchObject({ code: 65 });
    expect(await shell.run(["plan", "-"], { input: '{"workflow":"other"}' })).toMatchObject({ code: 66 });
  });
});
