import { formatDuration } from "../common/units.ts";
import { quoted } from "../common/nearest.ts";
import type { ServingSite, Surroundings } from "./backend/types.ts";
import type { Reason } from "./explain.ts";
import { counted } from "./format/text.ts";
import { hintNearest } from "./hints.ts";

/** Why nobody has claimed a job, by what the sites said at their last calls. */
export function unclaimed(workflow: string, { sites, otherWorkflows }: Surroundings, now: number): Reason {
  if (sites === undefined) return { why: "It waits for a site that claims it.", facts: [], do: [] };
  if (sites.length === 0) {
    return {
      why: `No site serves workflow ${quoted(workflow)}.`,
      facts: otherWorkflows.length === 0 ? ["no site has told of any workflow yet"] : [],
      do: [
        `register an app for '${workflow}' in a site file, or check the name of the workflow`,
        ...(otherWorkflows.length === 0 ? [] : [`what is served: ${hintNearest(workflow, otherWorkflows)}`]),
      ],
    };
  }
  const states = sites.map((site) => obstacleOf(site, now));
  const facts = states.map(({ fact }) => fact);
  const kinds = new Set(states.map(({ kind }) => kind));
  if (kinds.has("free")) return { why: "A site has a free slot for it and will claim it.", facts, do: [] };
  if (kinds.has("full")) return { why: "It waits for a free slot; a site will claim it.", facts, do: [] };
  const advice = [...new Set(states.flatMap((state) => state.do))];
  const [only] = kinds.size === 1 ? kinds : [];
  return { why: only === undefined ? severalObstacles : onlyObstacle[only], facts, do: advice };
}

type Obstacle = "free" | "full" | "lost" | "paused" | "leaving" | "starting" | "refusing";

const severalObstacles = "Every site that serves its workflow is away, paused or draining, or takes no new jobs.";
const onlyObstacle: Readonly<Record<Obstacle, string>> = {
  free: "A site has a free slot for it and will claim it.",
  full: "It waits for a free slot; a site will claim it.",
  lost: "Every site that serves its workflow is away: none has been heard of lately.",
  paused: "Every site that serves its workflow is paused.",
  leaving: "Every site that serves its workflow is draining or has stopped.",
  starting: "The site that serves its workflow is just starting; it will claim it.",
  refusing: "Every site that serves its workflow takes no new jobs.",
};

interface SiteState {
  readonly kind: Obstacle;
  readonly fact: string;
  readonly do: readonly string[];
}

function obstacleOf(site: ServingSite, now: number): SiteState {
  const name = `site '${site.id}'`;
  const holds = `holds ${counted(site.held, "job")}`;
  const ago = site.lastSync === null ? undefined : formatDuration(Math.max(0, now - Date.parse(site.lastSync)));
  const here = (command: string): readonly string[] => [`on the machine of ${name}: ${command}`];
  if (site.lostContact || ago === undefined) {
    const last = ago === undefined ? "has never called" : `not heard of; its last call was ${ago} ago`;
    return { kind: "lost", fact: `${name}: ${last}; ${holds}`, do: here("siteagent status, siteagent doctor") };
  }
  switch (site.state) {
    case "running":
      break;
    case "paused":
      return { kind: "paused", fact: `${name}: paused, ${holds}`, do: here("siteagent resume") };
    case "starting":
      return { kind: "starting", fact: `${name}: starting, ${holds}`, do: [] };
    default:
      return { kind: "leaving", fact: `${name}: ${site.state}, ${holds}`, do: here("siteagent status") };
  }
  if (site.notAccepting !== undefined) {
    const fact = `${name}: takes no new jobs: ${site.notAccepting}; ${holds}`;
    return { kind: "refusing", fact, do: here("siteagent status") };
  }
  if (site.free > 0) {
    const slots = counted(site.free, "free slot");
    return { kind: "free", fact: `${name}: running, ${slots} at its last call ${ago} ago, ${holds}`, do: [] };
  }
  const all = site.slots === undefined ? "no slot is free" : `all ${counted(site.slots, "slot")} in use`;
  return { kind: "full", fact: `${name}: running, ${all}, ${holds}`, do: [] };
}
