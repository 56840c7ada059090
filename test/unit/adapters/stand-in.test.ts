import { expect, it } from "vitest";
import { factsOf, standIn } from "../../../src/adapters/stand-in.ts";
import type { AdapterModule } from "../../../src/adapters/types.ts";
import { newToken } from "../../../src/common/token.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import type { SubmitRequest } from "../../../src/schedulers/types.ts";

const context = callContext();
const token = newToken();
const why = "adapter 'own' is missing: broken";

/** Stands in for a module of these members. */
function replaced<Type extends AdapterModule["type"]>(
  type: Type,
  more: object = {},
): Extract<AdapterModule, { type: Type }> {
  const module = { contract: 1, type, create: () => undefined, ...more } as unknown as AdapterModule;
  const facts = factsOf(module);
  expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
  const made = standIn(facts, why);
  expect(made).toMatchObject({ type, contract: 1, ...more });
  return made as Extract<AdapterModule, { type: Type }>;
}

it("a scheduler: nothing is accepted, for certain; nothing is known of what was", async () => {
  const scheduler = replaced("scheduler").create(undefined, {} as never);
  const jobs = [{ id: "7", token, submittedAt: new Date(0).toISOString() }];
  expect(await scheduler.submit([{} as SubmitRequest], context)).toEqual([{ state: "limited", reason: why }]);
  for (const verb of ["statuses", "cancel", "hold", "release"] as const)
    expect(await scheduler[verb](jobs, context)).toEqual([{ state: "unknown", why }]);
  expect(await scheduler.find([{ token, since: "" }], context)).toEqual([{ state: "unknown", why }]);
  expect(await scheduler.probe(context)).toEqual({ ok: false, reason: why });
});

it("a launcher: nothing is started, and what was started is not called absent", async () => {
  const launcher = replaced("launcher", { allocation: true }).create(undefined, {} as never);
  const refs = [{ token, directory: "/x" }];
  expect(await launcher.launch([{} as never], context)).toEqual([{ state: "busy", reason: why }]);
  expect(await launcher.statuses(refs, context)).toMatchObject([{ state: "unknown", why: "unreachable" }]);
  expect(await launcher.stop(refs, { graceMs: 1, reason: "" }, context)).toEqual([{ state: "unknown", why }]);
  await expect(launcher.find(refs, context)).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(launcher.trouble).toBe(why);
});

it("a host: it cannot be asked, and nothing ran", async () => {
  const host = replaced("host").create(undefined, { name: "far", workdir: "/w" });
  expect(host).toMatchObject({ name: "far", workdir: "/w" });
  await expect(host.run({} as never, context)).rejects.toMatchObject({
    code: "UNREACHABLE",
    details: { started: "no" },
  });
  await expect(host.files.stat("/w/x", context)).rejects.toMatchObject({ code: "UNREACHABLE" });
});

it("a transfer: another try may cure it", async () => {
  const transfer = replaced("transfer", { schemes: ["ftp"] }).create(undefined, {} as never);
  expect(transfer.schemes).toEqual(["ftp"]);
  await expect(transfer.list("ftp://x/y", "file", context)).rejects.toMatchObject({ code: "TRANSFER" });
  await expect(transfer.verify("ftp://x/y", context)).rejects.toMatchObject({ code: "TRANSFER", message: why });
});
