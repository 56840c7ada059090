import { existsSync } from "node:fs";
import { locate } from "../../common/locations.ts";
import { loadSite } from "../../config/compile.ts";
import { ConfigProblems, problemText } from "../../config/problems.ts";
import { builtInRegistries } from "../../config/registries.ts";
import { type CgroupBase, probeCgroups, removeCgroup } from "../../runner/cgroups.ts";
import type { CliContext } from "../context.ts";
import { centralChecks } from "./central.ts";
import { hostChecks } from "./hosts.ts";
import { machineChecks } from "./machine.ts";
import { placeChecks } from "./places.ts";
import { siteChecks } from "./site.ts";
import type { Check, CheckedFinding, DoctorFacts, DoctorReport, Finding } from "./types.ts";

const checkTimeoutMs = 20_000;

export const allChecks: readonly Check[] = [
  ...machineChecks,
  ...placeChecks,
  ...siteChecks,
  ...hostChecks,
  ...centralChecks,
];

/** Runs every check; a check that breaks is a warning, never the end. */
export async function runDoctor(siteFile: string, context: Pick<CliContext, "env" | "signal">): Promise<DoctorReport> {
  const facts = await factsOf(siteFile, context);
  const checks = await Promise.all(allChecks.map(async (check) => await runCheck(check, facts)));
  const results = new Set(checks.map((check) => check.result));
  const exit = results.has("error") ? 2 : results.has("warning") ? 1 : 0;
  return { siteFile, checks, exit };
}

async function factsOf(siteFile: string, { env, signal }: Pick<CliContext, "env" | "signal">): Promise<DoctorFacts> {
  let tried: Promise<CgroupBase | undefined> | undefined;
  const cgroups = () => (tried ??= tryCgroups(usual.stateDir));
  const usual = { stateDir: locate("state", env), runtimeDir: locate("runtime", env) };
  const base = { siteFile, env, signal, cgroups, ...usual };
  if (!existsSync(siteFile)) return { ...base, site: undefined, siteProblem: undefined };
  try {
    const site = await loadSite(siteFile, builtInRegistries, { env });
    return { ...base, site, siteProblem: undefined, stateDir: site.agent.stateDir, runtimeDir: site.agent.runtimeDir };
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    const [first] = error.problems;
    const more = error.problems.length > 1 ? ` (and ${error.problems.length - 1} more)` : "";
    return { ...base, site: undefined, siteProblem: `${first ? problemText(first) : error.message}${more}` };
  }
}

/** The same trial that the runner makes; what it made is removed again unless a runner uses it. */
async function tryCgroups(stateDir: string): Promise<CgroupBase | undefined> {
  const base = await probeCgroups(stateDir);
  if (base) removeCgroup(base.directory);
  return base;
}

async function runCheck(check: Check, facts: DoctorFacts): Promise<CheckedFinding> {
  const { id, title, area } = check;
  return { id, title, area, ...(await outcome(check, facts)) };
}

async function outcome(check: Check, facts: DoctorFacts): Promise<Finding> {
  const late = Promise.withResolvers<Finding>();
  const timer = setTimeout(() => late.resolve(broken("it took too long")), checkTimeoutMs);
  try {
    return await Promise.race([Promise.resolve(check.run(facts)), late.promise]);
  } catch (error) {
    return broken(error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(timer);
  }
}

function broken(why: string): Finding {
  return {
    result: "warning",
    found: `the check itself failed: ${why}`,
    why: "this part is not known to be well",
    repair: "SITEAGENT_DEBUG=1 siteagent doctor",
  };
}
