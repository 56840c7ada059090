/** From a filled command to what is started: as it is, by an MPI starter, in a container, or both. Pure. */
import { extname, join } from "node:path";
import { imageFlaw } from "../jobs/images.ts";
import { type Container, containerOf, zipOf } from "../jobs/runtime.ts";
import type { MpiStarter } from "../jobs/mpi.ts";
import { fillText, hasPlace } from "../jobs/template.ts";
import type { UnpackOrder } from "../runner/unpack.ts";
import type { PlanInput } from "./command.ts";
import { inContainer } from "./containers.ts";
import { starterFlaw, starterWords } from "./mpi.ts";
import type { ContainerTrace } from "./types.ts";

/** A command whose places are filled. */
export interface Filled {
  readonly argv: readonly [string, ...string[]];
  /** What every attempt gets, and what of it no app overrides. */
  readonly basic: Readonly<Record<string, string>>;
  readonly own: Readonly<Record<string, string>>;
  readonly attempt: Readonly<Record<string, string>>;
}

/** What is started: argv and environment, what is wrong with them, and a container that may stay behind. */
export interface Wrapped {
  readonly argv: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  readonly problems: readonly string[];
  readonly container?: ContainerTrace;
  /** A built-in starter stands first. */
  readonly starter?: MpiStarter;
}

export type Wrap = (input: PlanInput, filled: Filled) => Wrapped;

/** A hook's command, which runs as it is. */
export const asIs: Wrap = (_input, { argv, basic, own, attempt }) => {
  return { argv, environment: { ...basic, ...own, ...attempt }, problems: [] };
};

/** The app's own command, with the container and the MPI starter that the app says. */
export const wrap: Wrap = (input, filled) => {
  if (zipOf(input.app.runtime)) return unpacked(input, withStarter(input, filled.argv, asIs(input, filled)));
  const container = containerOf(input.app.runtime);
  if (!container) return withStarter(input, filled.argv, asIs(input, filled));
  const image = imageOf(input, container);
  const contained = (argv: Filled["argv"]): Wrapped => {
    const inside = inContainer({
      ...input,
      container,
      image: image.text,
      argv,
      environment: { ...filled.basic, ...filled.attempt },
      own: filled.own,
      gpus: { vendor: input.gpuVendor, ids: input.gpus?.ids, scheduled: input.allocation },
    });
    return { ...inside, problems: [...image.problems, ...inside.problems] };
  };
  // Ranks of Apptainer are started from outside, as an MPI of the host's does; one container of the others holds starter and ranks.
  if (container.engine === "apptainer") return withStarter(input, filled.argv, contained(filled.argv));
  const started = withStarter(input, filled.argv, { argv: filled.argv, environment: {}, problems: [] });
  const whole = contained(started.argv);
  return { ...whole, problems: [...started.problems, ...whole.problems] };
};

/**
 * Unpacks, without a variable of the app, then becomes the command. Arguments are Node, the program that unpacks, its order, and the command.
 */
const unpackScript = `
env -i SITEAGENT_ATTEMPT_TOKEN="$SITEAGENT_ATTEMPT_TOKEN" "$1" "$2" "$3" || exit 125
shift 3
exec "$@"
`.trim();

const unpackProgram = join(import.meta.dirname, "..", "runner", `unpack${extname(import.meta.filename)}`);

/** Out of the app's archive, which is unpacked anew for each attempt. */
function unpacked({ app, directories }: PlanInput, { starter: _within, ...wrapped }: Wrapped): Wrapped {
  const zip = zipOf(app.runtime);
  if (!zip) return wrapped;
  const order: UnpackOrder = {
    archive: zip.archive ?? join(directories.in, app.inputs[zip.input ?? ""]?.to ?? ""),
    into: join(directories.work, zip.into),
    maxBytes: zip.max_size,
    sha256: zip.sha256,
  };
  const words = ["-c", unpackScript, "siteagent-zip", process.execPath, unpackProgram, JSON.stringify(order)];
  return { ...wrapped, argv: ["/bin/sh", ...words, ...wrapped.argv] };
}

/** With an MPI starter before it, if the app has one. `command`: the app's own words, none of which the starter may take for its own. */
function withStarter(input: PlanInput, command: readonly string[], wrapped: Wrapped): Wrapped {
  const { mpi, resources } = input.app;
  if (!mpi) return wrapped;
  const problems = command.flatMap((argument, index) => {
    const flaw = starterFlaw(argument);
    return flaw === undefined ? [] : [`command[${index}]: ${flaw}`];
  });
  const variables = Object.keys(wrapped.environment).toSorted();
  const words = starterWords(mpi, resources, { shared: input.shared, variables });
  return {
    ...wrapped,
    argv: [...words, ...wrapped.argv],
    problems: [...wrapped.problems, ...problems],
    ...(typeof mpi.starter === "string" ? { starter: mpi.starter } : {}),
  };
}

/** The image with its places filled, if the site allows it. */
function imageOf(
  { values, images }: PlanInput,
  { engine, spec }: Container,
): { readonly text: string; readonly problems: readonly string[] } {
  const filled = fillText(spec.image, { values });
  if (!filled.ok) return { text: "", problems: [`image: ${filled.problem.message}`] };
  const chosen = hasPlace(spec.image);
  const flaw = imageFlaw(filled.text, engine, { allowed: images, chosen });
  return { text: filled.text, problems: flaw ? [`image: ${flaw.message}; allowed: ${flaw.allowed}`] : [] };
}
