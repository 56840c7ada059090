import { readFile, stat } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { type Listening, Shell, startHubFor } from "./rig.ts";
import { TerminalSession } from "./terminal.ts";

describeWithEngine("pty", "on a terminal", () => {
  let stack: AsyncDisposableStack;
  let shell: Shell;
  let hub: Listening;
  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    shell = new Shell(stack.use(await temporaryDirectory("sa-tty-")));
    hub = await startHubFor(shell, stack);
    await shell.id(
      "submit",
      "a-workflow-with-a-long-name-1.0.0",
      "--name",
      "a name that needs a lot of room",
      "--tag",
      "project=one",
    );
    await shell.id("submit", "hello-1.0.0");
  });
  afterAll(async () => {
    await stack.disposeAsync();
  });

  test.each([60, 80, 120])("the list fits %d columns, in colour, and marks what was cut", async (columns) => {
    await using session = new TerminalSession(shell, ["jobs"], { columns });
    expect(await session.ended).toBe(0);
    const lines = session.text.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(session.raw).toContain("\u001b[1m");
    if (columns === 80) expect(session.text).toContain("…");
  });

  test("a cancel of many asks, and does nothing at no", async () => {
    await using session = new TerminalSession(shell, ["cancel", "--all-matching", "--workflow", "hello-1.0.0"]);
    await session.reads(/Cancel 1 job\?/);
    session.type("n");
    expect(await session.ended).toBe(130);
    expect(await shell.json("jobs", "--workflow", "hello-1.0.0")).toMatchObject({ total: 1 });
  });

  test("a cancel without ids lets one choose", async () => {
    const id = await shell.id("submit", "chosen-1.0.0");
    await using session = new TerminalSession(shell, ["cancel"]);
    await session.reads(/Cancel which jobs\?/);
    session.type(" ");
    await session.reads(/◼/);
    session.type("\r");
    expect(await session.ended).toBe(0);
    expect(session.text).toContain(`${id}  cancelled`);
  });

  test("watch shows the job, and Ctrl-C leaves it alone", async () => {
    const id = await shell.id("submit", "watched-1.0.0");
    await using session = new TerminalSession(shell, ["watch", "last"]);
    await session.reads(/1 to go/);
    session.type("\u0003");
    expect(await session.ended).toBe(130);
    expect(session.text).toContain(id);
    expect(await shell.json("job", id)).toMatchObject({ status: "PENDING" });
  });

  test("login asks for the password and does not show it", async () => {
    await using other = await temporaryDirectory();
    const env = { SITEAGENT_CONFIG_DIR: other.path };
    await using session = new TerminalSession(shell, ["login", "--hub", hub.url], { env });
    await session.reads(/User name/);
    session.type(`${hub.admin.username}\r`);
    await session.reads(/Password of admin/);
    session.type(`${hub.admin.password}\r`);
    expect(await session.ended).toBe(0);
    expect(session.text).toContain("logged in");
    expect(session.raw).not.toContain(hub.admin.password);
    expect((await stat(other.join("profile.json"))).mode & 0o777).toBe(0o600);
  });

  test("init asks its questions, keeps the secret to itself and ends with the doctor", async () => {
    await using other = await temporaryDirectory();
    const env = { SITEAGENT_CONFIG_DIR: other.path };
    await using session = new TerminalSession(shell, ["init"], { env, columns: 100 });
    const answers: readonly (readonly [RegExp, string])[] = [
      [/Site id/, "lab-a"],
      [/Address of the central API/, "\u0015http://127.0.0.1:9"],
      [/Client id/, "sys0abc"],
      [/Client secret/, "very secret"],
      [/Where jobs run/, ""],
      [/Jobs at the same time/, ""],
      [/app 'hello'/, ""],
    ];
    for (const [question, answer] of answers) {
      await session.reads(question);
      session.type(`${answer}\r`);
    }
    expect(await session.ended).toBe(0);
    expect(session.raw).not.toContain("very secret");
    expect(session.text).toContain("Central API");
    expect(await readFile(other.join("client-secret"), "utf8")).toBe("very secret\n");
    expect((await shell.run(["validate"], { env })).code).toBe(0);
  });
});
