import type { Token } from "../../../src/common/token.ts";
import { directoriesOf, type PlanInput } from "../../../src/launchers/command.ts";
import { appOf } from "../jobs/builders.ts";

export const jobToken = "jabcdefghijklmn" as Token;
export const token = "aabcdefghijklmn" as Token;

/** What an attempt is planned from: a plain app on a machine that attempts share. */
export function planInputOf(change: Partial<PlanInput> = {}): PlanInput {
  return {
    app: appOf(),
    settings: { path: "/usr/bin:/bin", environment: [] },
    values: {},
    jobToken,
    token,
    attempt: 2,
    directories: directoriesOf("/w", jobToken, 2),
    inherited: {},
    account: { name: "svc", home: "/home/svc", uid: 1001, gid: 1001, groups: [1001, 50] },
    images: [],
    gpuVendor: "nvidia",
    allocation: false,
    shared: true,
    ...change,
  };
}
