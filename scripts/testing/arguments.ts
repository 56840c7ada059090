import { type EngineName, engineNames, isEngineName } from "../../test/helpers/engines/registry.ts";

/** What `npm test` was asked for. */
export interface TestRequest {
  /** Debian packages may be installed. */
  readonly install: boolean;
  /** A machine of a build service: what TEST_REQUIRE names may be installed. */
  readonly ci: boolean;
  /** Engines without which the run fails. */
  readonly required: readonly EngineName[];
  /** Passed to vitest as they are. */
  readonly vitestArguments: readonly string[];
  /** Tests are chosen by name, so that the others are no loss. */
  readonly filtered: boolean;
}

/** Reads the command line and TEST_REQUIRE; throws with the allowed names when one is unknown. */
export function readRequest(args: readonly string[], env: NodeJS.ProcessEnv): TestRequest {
  return {
    install: args.includes("--install"),
    ci: env["CI"] === "true",
    required: parseRequired(env["TEST_REQUIRE"] ?? ""),
    vitestArguments: args.filter((argument) => argument !== "--install"),
    filtered: args.some((argument) => /^(-t|--testNamePattern)(=|$)/.test(argument)),
  };
}

function parseRequired(text: string): readonly EngineName[] {
  const names = text.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()]));
  const unknown = names.filter((name) => !isEngineName(name));
  if (unknown.length > 0) {
    const quoted = unknown.map((name) => `'${name}'`).join(", ");
    throw new Error(`TEST_REQUIRE names an unknown engine: ${quoted}; allowed are ${engineNames.join(", ")}`);
  }
  return names.filter(isEngineName);
}
