import { wordsOf } from "../text.ts";
import { troubleIn } from "./trouble.ts";

/** What a failed submission means: nothing was accepted and nothing will be, nothing for now, or nobody knows. */
export type Refusal =
  | { readonly state: "rejected"; readonly reason: string }
  | { readonly state: "limited"; readonly reason: string }
  | { readonly state: "unclear"; readonly why: string };

/** Before the sentence that follows, the controller names the limit: of submitted jobs, which passes, or of size and time, which does not. */
const countLimit = /\b(?:(?:QOS|Assoc)(?:Max|Grp)Submit\w*|MaxSubmitJobsPer\w+)\b/;
const sizeLimit = /\b(?:QOS|Assoc)(?:Max|Min|Grp)\w*(?:Limit|NotSatisfied)\b|\bMax\w+Per(?:Account|Limit|User)\b/;
const policySentence = /Job violates accounting\/QOS policy/;

/** Answers of the controller (its table of errors) that may be others a while later. */
const ofTheMoment: readonly RegExp[] = [
  /Resource temporarily unavailable/,
  /MaxJobCount limit reached/,
  /Unable to create job record, try again/,
  /Requested nodes are busy/,
  /Requested partition configuration not available now/,
  /Required partition not available \(inactive or drain\)/,
  /Partition in DOWN state/,
  /Required node not available \(down, drained or reserved\)/,
  /Requested reservation not usable now/,
  /Requested reservation is in use/,
  /Requested operation is presently disabled/,
  /System submissions disabled/,
  /Job can not start due to maintenance/,
  /Requested account has breached requested QOS usage threshold/,
  /Licenses currently unavailable/,
  /Max powered up nodes reached/,
  /Required ports are in use/,
];

/** Answers of the controller that say what is wrong with the request. */
const wrongRequest: readonly RegExp[] = [
  /Invalid (?:partition name|account|qos|QOS|wckey|license|feature|preferred feature|extra constraints|generic resource|GRES|Trackable|job array|burst buffer|mcs_label|node name|time|time-min|--nice|user id|user ID|group id|group ID|or unknown association|KNL|container id|JobDefaults|cluster)/,
  /No partition specified or system default partition/,
  /Access\/permission denied/,
  /User's group not permitted to use this partition/,
  /Requested nodes not in this partition/,
  /More processors requested than permitted/,
  /(?:Node count|CPU count|Task count|Task distribution) specification invalid/,
  /Job size specification needs to be provided/,
  /Job script not specified/,
  /Pathname of a file, directory or other parameter too long/,
  /Requested (?:node|topology) configuration is not available/,
  /Requested more tasks than available processors/,
  /Memory required by task is not available/,
  /Requested time limit is invalid/,
  /Time limit specification required, but not provided/,
  /Access denied to requested reservation/,
  /Requested reservation is invalid/,
  /(?:Circular job|Job) dependency/,
  /Only batch jobs are accepted/,
  /Burst Buffer (?:permission denied|resource limit exceeded|request invalid)/,
  /Job --batch option is invalid/,
  /Duplicate generic resource/,
  /Requested (?:GRES option unsupported|operation not supported on this system)/,
  /Multiple partition job request not supported/,
  /without the current working directory/,
  /Invalid .* specification/,
  // What a site's submit filter answers when it has no code of its own for its refusal.
  /Unspecified error/,
];

/** What sbatch itself finds before it asks anybody. */
const wrongCommand: readonly RegExp[] = [
  /unrecognized option|invalid option|ambiguous|requires an argument|Try "sbatch --help"/,
  /mutually exclusive/,
  /Invalid .*(?:specification|argument|value|option|directive)/i,
  /Batch script (?:is empty|contains)/,
  /does not look like a batch script/,
  /(?:script|line) .*(?:exceeds|too (?:long|large))/i,
];

/**
 * What a submission without an id came to. The last sentence of the controller counts: before it stand its limits, and lines of filters
 * and plugins of the site, which are kept in the words.
 */
export function classifyRefusal(stderr: string): Refusal {
  const words = wordsOf(stderr.replaceAll(/^sbatch: (?:error: |fatal: )?/gm, "").trim());
  const sentences = [...stderr.matchAll(/Batch job submission failed: (.+)/g)].map(([, sentence = ""]) => sentence);
  const sentence = sentences.at(-1);
  if (sentence === undefined) {
    const trouble = troubleIn(stderr);
    if (trouble !== undefined) return { state: "unclear", why: trouble };
    return wrongCommand.some((pattern) => pattern.test(stderr))
      ? { state: "rejected", reason: words }
      : { state: "unclear", why: words || "sbatch said nothing" };
  }
  if (policySentence.test(sentence)) {
    const permanent = !countLimit.test(stderr) && sizeLimit.test(stderr);
    return { state: permanent ? "rejected" : "limited", reason: words };
  }
  if (ofTheMoment.some((pattern) => pattern.test(sentence))) return { state: "limited", reason: words };
  if (wrongRequest.some((pattern) => pattern.test(sentence))) return { state: "rejected", reason: words };
  return { state: "unclear", why: troubleIn(sentence) ?? words };
}
