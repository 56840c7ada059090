import { createHash } from "node:crypto";
import { readFile, writeFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const outputs = { result: { from: "result.txt" } };

/** The same suite in our own dialect, in the plain one on our hub, and found out by the agent on a hub without extensions. */
const ways = [
  { name: "hub dialect", how: { dialect: "hub" } },
  { name: "nmdc dialect", how: { dialect: "nmdc" } },
  { name: "a hub without extensions", how: { dialect: "auto", plain: true } },
] as const;

describe.each(ways)("jobs from claim to closed operation, $name", ({ how }) => {
  it("stages in, runs, stages out and closes the operation with digests", async () => {
    await using site = await TestSite.start({
      ...how,
      apps: {
        count: {
          parameters: { name: { type: "string", from: "config.name" } },
          inputs: { text: { from: "{{config.url}}", to: "text.txt" } },
          command: ["/bin/sh", "-c", 'wc -c < "$1" > result.txt; echo done', "count", "{{inputs.text}}"],
          outputs: { result: { from: "result.txt", to: "file:///delivered/{{name}}/result.txt" } },
        },
      },
    });
    await mkdir(join(site.root, "inputs"));
    await writeFile(join(site.root, "inputs", "a.txt"), "x".repeat(12_345));
    await site.replaceInSiteFile("file:///delivered/", `file://${site.delivered}/`);
    await site.startAgent();
    const { id } = await site.submit("count", { name: "one", url: `file://${site.root}/inputs/a.txt` });
    const job = await site.ended(id);
    expect(job).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect((await readFile(join(site.delivered, "one", "result.txt"), "utf8")).trim()).toBe("12345");
    const operation = await site.operation(job.op_id);
    expect(operation).toMatchObject({ done: true, metadata: { siteagent: { state: "JOB_FINISHED" } } });
    expect(operation.result).toMatchObject({ outputs: [{ output: "result", path: "result.txt", bytes: 6 }] });

    // The same file as an object of the API: the first access method that the policy allows, under what the object promises.
    const sha256 = createHash("sha256").update("x".repeat(12_345)).digest("hex");
    const object = {
      size: 12_345,
      checksums: [{ type: "sha256", checksum: sha256 }],
      access_methods: [
        { type: "https", access_url: { url: "https://elsewhere.example/a.txt" } },
        { type: "file", access_id: "lab:a.txt" },
        { type: "file", access_url: { url: `file://${site.root}/inputs/a.txt` } },
      ],
    };
    const drs = `drs://${new URL(site.access.url).host}/${await site.newObject(object)}`;
    const second = await site.submit("count", { name: "two", url: drs });
    expect(await site.ended(second.id)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect((await readFile(join(site.delivered, "two", "result.txt"), "utf8")).trim()).toBe("12345");
  });

  it("BAL-24: reports a failure with exit code and category, and a timeout with its cause", async () => {
    await using site = await TestSite.start({
      ...how,
      apps: {
        fail: { command: ["/bin/sh", "-c", "exit 3"] },
        sleep: { command: ["/bin/sleep", "60"], resources: { walltime: "1s" } },
      },
    });
    await site.startAgent();
    const failing = await site.submit("fail");
    const sleeping = await site.submit("sleep");
    const failed = await site.operation((await site.ended(failing.id)).op_id);
    expect(failed).toMatchObject({
      done: true,
      result: { code: "EXIT_CODE", details: { exit_code: 3, cause: "exit" } },
    });
    const timedOut = await site.operation((await site.ended(sleeping.id)).op_id);
    expect(timedOut).toMatchObject({ done: true, result: { code: "TIMEOUT", details: { cause: "timeout" } } });
  });

  it("refuses a job whose parameters the app does not accept, naming all of them, and starts nothing", async () => {
    await using site = await TestSite.start({
      ...how,
      apps: {
        strict: {
          parameters: {
            n: { type: "integer", from: "config.n", minimum: 1, maximum: 4 },
            name: { type: "string", from: "config.name", pattern: "[a-z]+" },
          },
          command: ["/bin/true", "{{n}}", "{{name}}"],
        },
      },
    });
    await site.startAgent();
    const { id } = await site.submit("strict", { n: 9, name: "--rm" });
    const job = await site.ended(id);
    const { result } = await site.operation(job.op_id);
    expect(job.status).toBe("FAILED");
    expect(JSON.stringify(result)).toMatch(/PARAMETERS/);
    expect(JSON.stringify(result)).toMatch(/'9'.*'--rm'/s);
    expect((await site.starts()).size).toBe(0);
  });
});

describe("orders", () => {
  it("TAP-7: cancels a running job: everything of it is gone before CANCELLED is told", async () => {
    await using site = await TestSite.start({
      apps: { long: { command: ["/bin/sh", "-c", "sleep 300 & sleep 300"], outputs: {} } },
    });
    await site.startAgent();
    const { id } = await site.submit("long");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    expect((await site.client.cancel(id, "not needed")).result).toBe("requested");
    expect((await site.ended(id)).status).toBe("CANCELLED");
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("retries by policy until success, each attempt once", async () => {
    await using site = await TestSite.start({
      apps: {
        flaky: {
          command: traced('[ "$SITEAGENT_ATTEMPT" -ge 3 ] && echo ok > result.txt || exit 9'),
          retry: { attempts: 5, on: ["exit:9"], delay: "100ms" },
          outputs,
        },
      },
    });
    await site.startAgent();
    const { id } = await site.submit("flaky");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 3 });
    expect((await site.starts()).size).toBe(3);
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describe("what a failed job leaves", () => {
  const app = { command: traced("echo half > result.txt; exit 4"), outputs };

  it.each([
    { archive: "always", kept: ["result.txt"] },
    { archive: "on_failure", kept: ["result.txt"] },
    { archive: "on_success", kept: [] },
    { archive: "never", kept: [] },
  ] as const)(
    "TAP-8: is kept or not by the app's policy, before FAILED is told: $archive",
    async ({ archive, kept }) => {
      await using site = await TestSite.start({ apps: { work: { ...app, archive } } });
      await site.startAgent();
      const { id } = await site.submit("work");
      expect(await site.ended(id)).toMatchObject({ status: "FAILED" });
      const stored = await site.client.outputs.list(id);
      expect(stored.map((output) => output.path)).toEqual(kept);
      for (const { path } of stored)
        expect(new TextDecoder().decode(await site.client.outputs.read(id, path))).toBe("half\n");
    },
  );

  it("TAP-8: is kept when the time limit or a cancel ended it", async () => {
    const half = traced("echo half > result.txt; sleep 60");
    const late = { command: half, outputs, resources: { walltime: "1s" }, archive: "always" };
    await using site = await TestSite.start({ apps: { late, stopped: { ...late, resources: {} } } });
    await site.startAgent();
    const [timeout, cancel] = await Promise.all([site.submit("late"), site.submit("stopped")]);
    await site.waitFor(cancel.id, (job) => job.state === "RUNNING", "RUNNING");
    await waitFor(async () => (await site.starts()).size === 2, { what: "both starts" });
    await site.client.cancel(cancel.id, "enough");
    expect(await site.ended(timeout.id)).toMatchObject({ status: "FAILED" });
    expect(await site.ended(cancel.id)).toMatchObject({ status: "CANCELLED" });
    for (const { id } of [timeout, cancel])
      expect((await site.client.outputs.list(id)).map((output) => output.path)).toEqual(["result.txt"]);
  });

  it("a job that succeeds keeps its outputs to itself with archive: never", async () => {
    await using site = await TestSite.start({
      apps: { work: { command: traced("echo all > result.txt"), outputs, archive: "never" } },
    });
    await site.startAgent();
    const { id } = await site.submit("work");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    expect(await site.client.outputs.list(id)).toEqual([]);
  });
});
