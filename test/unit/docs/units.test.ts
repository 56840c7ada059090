import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { exitCodes } from "../../../src/cli/help-topics.ts";
import { repository } from "../../helpers/cli.ts";

type Unit = ReadonlyMap<string, readonly string[]>;

function readUnit(name: string): Unit {
  const settings = new Map<string, string[]>();
  for (const line of readFileSync(join(repository, "systemd", name), "utf8").split("\n")) {
    const match = /^([A-Za-z]+)=(.*)$/.exec(line);
    if (match?.[1] !== undefined) settings.set(match[1], [...(settings.get(match[1]) ?? []), match[2] ?? ""]);
  }
  return settings;
}

describe("units keep what the agent promises", () => {
  const agent = readUnit("siteagent.service");
  const runner = readUnit("siteagent-runner.service");
  const socket = readUnit("siteagent-runner.socket");

  test("attempts live in the runner's unit: the agent connects to its socket and starts no runner", () => {
    const path = socket.get("ListenStream")?.[0];
    expect(agent.get("Environment")).toEqual([`SITEAGENT_RUNNER_SOCKET=${path}`]);
    expect(runner.get("ExecStart")?.[0]).toContain(`--socket ${path} `);
    expect(agent.get("Wants")?.[0]).toContain("siteagent-runner.socket");
  });

  test("no stop of agent or runner signals an attempt", () => {
    expect(runner.get("KillMode")).toEqual(["process"]);
    expect(runner.get("SendSIGKILL")).toEqual(["no"]);
    expect(readUnit("user/siteagent.service").get("KillMode")).toEqual(["process"]);
    for (const name of ["BindsTo", "PartOf", "Requires"]) {
      expect(agent.get(name)).toBeUndefined();
      expect(runner.get(name)?.join() ?? "").not.toContain("siteagent.service");
    }
  });

  test("agent and runner have the same account, and nothing of it is removed when the agent stops", () => {
    expect(agent.get("User")).toEqual(["siteagent"]);
    expect(runner.get("User")).toEqual(agent.get("User"));
    expect(socket.get("SocketUser")).toEqual(agent.get("User"));
    expect(socket.get("SocketMode")).toEqual(["0600"]);
    expect(agent.get("RemoveIPC")).toEqual(["no"]);
    expect(runner.get("RuntimeDirectoryPreserve")).toEqual(["yes"]);
  });

  test("the runner is not locked down, for jobs would inherit it; Node may compile", () => {
    const settings = [...runner.keys()].filter((name) =>
      /^(?:NoNew|Protect|Private|Restrict[A-Z]|SystemCall)/.test(name),
    );
    expect(settings.filter((name) => name !== "RestartSec")).toEqual([]);
    expect(runner.get("TasksMax")).toEqual(["infinity"]);
    for (const name of ["siteagent.service", "siteagent-hub.service"])
      expect(readUnit(name).get("MemoryDenyWriteExecute")).toBeUndefined();
  });

  test.each(["siteagent.service", "siteagent-hub.service", "user/siteagent.service", "user/siteagent-hub.service"])(
    "%s comes back for ever, except after codes that a restart cannot cure",
    (name) => {
      const unit = readUnit(name);
      expect(unit.get("Restart")).toEqual(["always"]);
      expect(unit.get("StartLimitIntervalSec")).toEqual(["0"]);
      const codes = (unit.get("RestartPreventExitStatus")?.[0] ?? "").split(" ").map(Number);
      expect(codes).toContain(78);
      expect(codes).not.toContain(75);
      for (const code of codes) expect(exitCodes).toHaveProperty(String(code));
    },
  );
});
