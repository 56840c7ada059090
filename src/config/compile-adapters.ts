import { z } from "zod";
import { type ModuleFacts, standIn } from "../adapters/stand-in.ts";
import type { AdapterModule, LoadedModule } from "../adapters/types.ts";
import type { Compiling } from "./compiling.ts";
import { fingerprint } from "./fingerprint.ts";
import type { LauncherKind, Registries } from "./registries.ts";
import { addSettingsProblems } from "./settings-problems.ts";
import type { SiteAdapter } from "./types.ts";

/** Attempts of a site's own launcher run plain or in Apptainer: the others need what only our own launchers do for them. */
const lacksOfOwn = ["pty", "docker", "podman", "zip"] as const;

/** The site's own adapters, loaded, and the registries with them: the rest of the file may name them as it names the built-in ones. */
export async function compileAdapters(
  compiling: Compiling,
  standIns: Readonly<Record<string, ModuleFacts>>,
): Promise<{ readonly adapters: Record<string, SiteAdapter>; readonly registries: Registries }> {
  const { settings, absolute, loaded } = compiling;
  const adapters: Record<string, SiteAdapter> = {};
  let { registries } = compiling;
  const entries = Object.entries(settings.adapters);
  if (entries.length === 0) return { adapters, registries };
  const { loadAdapter } = await import("../adapters/load.ts");
  for (const [name, { module: file, options }] of entries) {
    const path = ["adapters", name];
    const found = await loadAdapter(absolute(file));
    const facts = "adapter" in found ? undefined : standIns[name];
    if (facts) {
      const adapter = standIn(facts, `adapter '${name}' is missing: ${"message" in found ? found.message : ""}`);
      adapters[name] = siteAdapter(
        name,
        { path: absolute(file), digest: "", adapter },
        { written: options, parsed: undefined },
      );
      registries = extended(registries, name, adapter);
      continue;
    }
    if (!("adapter" in found)) {
      loaded.report.add({ path: [...path, "module"], message: found.message, value: file, allowed: found.allowed });
      continue;
    }
    const taken = takenBy(found.adapter, name, registries);
    if (taken !== undefined) {
      const allowed = "a name or scheme that nothing else has";
      loaded.report.add({ path, atKey: true, message: taken, value: name, allowed });
      continue;
    }
    const schema = found.adapter.options ?? z.strictObject({});
    const checked = schema.safeParse(options);
    if (!checked.success) {
      addSettingsProblems(loaded, [...path, "options"], { schema, issues: checked.error.issues });
      continue;
    }
    adapters[name] = siteAdapter(name, found, { written: options, parsed: checked.data });
    registries = extended(registries, name, found.adapter);
  }
  return { adapters, registries };
}

function siteAdapter(
  name: string,
  { path, digest, adapter }: LoadedModule,
  options: { readonly written: unknown; readonly parsed: unknown },
): SiteAdapter {
  const identity = fingerprint([path, digest, options.written]);
  return { name, type: adapter.type, path, digest: identity, options: options.parsed, adapter };
}

function takenBy(adapter: AdapterModule, name: string, registries: Registries): string | undefined {
  switch (adapter.type) {
    case "scheduler":
      return registries.schedulers.includes(name) ? `there is a scheduler '${name}' already` : undefined;
    case "launcher":
      return Object.hasOwn(registries.launchers, name) ? `there is a launcher '${name}' already` : undefined;
    case "host":
      return undefined;
    case "transfer": {
      const scheme = adapter.schemes.find((one) => registries.schemes.includes(one));
      return scheme === undefined ? undefined : `scheme '${scheme}' is served already`;
    }
  }
}

function extended(registries: Registries, name: string, adapter: AdapterModule): Registries {
  switch (adapter.type) {
    case "scheduler":
      return { ...registries, schedulers: [...registries.schedulers, name] };
    case "launcher": {
      const { allocation, maxNodes, slots } = adapter;
      const limits = { ...(maxNodes === undefined ? {} : { maxNodes }), ...(slots === undefined ? {} : { slots }) };
      const kind: LauncherKind = { settings: z.strictObject({}), allocation, lacks: lacksOfOwn, ...limits };
      return { ...registries, launchers: { ...registries.launchers, [name]: kind } };
    }
    case "host":
      return { ...registries, hosts: [...registries.hosts, name] };
    case "transfer":
      return { ...registries, schemes: [...registries.schemes, ...adapter.schemes] };
  }
}
