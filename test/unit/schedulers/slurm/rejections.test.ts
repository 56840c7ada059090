import { describe, expect, it } from "vitest";
import { classifyRefusal } from "../../../../src/schedulers/slurm/rejections.ts";

const failed = (sentence: string): string => `sbatch: error: Batch job submission failed: ${sentence}\n`;
const policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";

describe("a refused submission", () => {
  it.each([
    "Invalid partition name specified",
    "Invalid account or account/partition combination specified",
    "Invalid qos specification",
    "Invalid feature specification",
    "Invalid license specification",
    "Invalid job array specification",
    "Invalid generic resource (gres) specification",
    "Requested node configuration is not available",
    "Requested time limit is invalid (missing or exceeds some limit)",
    "Node count specification invalid",
    "More processors requested than permitted",
    "Memory required by task is not available",
    "Requested reservation is invalid",
    "Access denied to requested reservation",
    "User's group not permitted to use this partition",
    "Access/permission denied",
    "Unspecified error",
  ])("E16: '%s' is a wrong request", (sentence) => {
    expect(classifyRefusal(failed(sentence))).toEqual({
      state: "rejected",
      reason: `Batch job submission failed: ${sentence}`,
    });
  });

  it.each([
    "Resource temporarily unavailable",
    "MaxJobCount limit reached",
    "Required partition not available (inactive or drain)",
    "Required node not available (down, drained or reserved)",
    "Requested reservation not usable now",
    "System submissions disabled",
  ])("E16: '%s' is for now", (sentence) => {
    expect(classifyRefusal(failed(sentence)).state).toBe("limited");
  });

  it.each([
    "QOSMaxSubmitJobPerUserLimit",
    "QOSGrpSubmitJobsLimit",
    "AssocMaxSubmitJobLimit",
    "AssocGrpSubmitJobsLimit",
    "MaxSubmitJobsPerAccount",
  ])("E16: %s is a limit of the moment, shown in the scheduler's words", (word) => {
    const answer = classifyRefusal(`sbatch: error: ${word}\n${failed(policy)}`);
    expect(answer).toMatchObject({ state: "limited", reason: expect.stringContaining(word) });
  });

  it.each([
    "QOSMaxWallDurationPerJobLimit",
    "QOSMaxCpuPerJobLimit",
    "AssocMaxNodePerJobLimit",
    "QOSMinCpuNotSatisfied",
    "AssocGrpNodeLimit",
  ])("E16: %s is a limit of size, which no waiting changes", (word) => {
    expect(classifyRefusal(`sbatch: error: ${word}\n${failed(policy)}`).state).toBe("rejected");
  });

  it("waits with the ambiguous sentence alone", () => {
    expect(classifyRefusal(failed(policy)).state).toBe("limited");
  });

  it.each([
    "Socket timed out on send/recv operation",
    "Unable to contact slurm controller (connect failure)",
    "Unexpected message received",
    "Protocol authentication error",
    "Zero Bytes were transmitted or received",
    "I/O error writing script/environment to file",
    "Slurm backup controller in standby mode",
    "Invalid authentication credential",
    "A sentence of a version to come",
  ])("E1: '%s' says nothing", (sentence) => {
    expect(classifyRefusal(failed(sentence))).toMatchObject({
      state: "unclear",
      why: expect.stringContaining(sentence),
    });
  });

  it("E20: authentication that fails is named", () => {
    const munge = `sbatch: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2"
sbatch: error: slurm_send_node_msg: auth_g_create: REQUEST_SUBMIT_BATCH_JOB has authentication error
${failed("Protocol authentication error")}`;
    expect(classifyRefusal(munge)).toMatchObject({
      state: "unclear",
      why: expect.stringMatching(/^authentication failed/),
    });
  });

  it.each([
    `sbatch: unrecognized option '--foo'\nTry "sbatch --help" for more information\n`,
    "sbatch: error: Invalid --time specification\n",
    "sbatch: error: Invalid generic resource (gres) specification\n",
    "sbatch: error: Batch script is empty!\n",
    "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n",
    "sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.\n",
  ])("what sbatch itself finds is a wrong request: %j", (stderr) => {
    expect(classifyRefusal(stderr).state).toBe("rejected");
  });

  it.each([
    "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: fatal: Could not establish a configuration source\n",
    "sbatch: fatal: malloc failed\n",
    "Segmentation fault\n",
    "",
  ])("what nobody knows is unclear: %j", (stderr) => {
    expect(classifyRefusal(stderr).state).toBe("unclear");
  });

  it("keeps what the site's own filter said", () => {
    const words = classifyRefusal(`sbatch: error: lab rule 7: jobs need an account\n${failed("Unspecified error")}`);
    expect(words).toMatchObject({ state: "rejected", reason: expect.stringContaining("lab rule 7") });
  });

  it("believes the last sentence when it tried several times", () => {
    const answer = classifyRefusal(
      `${failed("Socket timed out on send/recv operation")}${failed("Invalid qos specification")}`,
    );
    expect(answer.state).toBe("rejected");
  });
});
