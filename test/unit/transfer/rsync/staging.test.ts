import { expect, it } from "vitest";
import { callContext } from "../../../../src/conformance/suite.ts";
import { StagingDirectories } from "../../../../src/transfer/rsync/staging.ts";
import type { SftpAccess } from "../../../../src/transfer/sftp/types.ts";

/** A remote that has one directory or not, says how much is in it, and removes it when told to go on. */
class Remote {
  readonly removals: (() => void)[] = [];
  isThere = false;
  kib = 0;

  get access(): SftpAccess {
    const mkdir = async (): Promise<void> => {
      if (this.isThere) throw Object.assign(new Error("Failure"), { status: 4 });
      this.isThere = true;
    };
    const stats = async (): Promise<unknown> => (this.isThere ? { isDirectory: () => true } : undefined);
    return {
      label: "far",
      settings: { verify: "digest", existing: "replace", shell: true, preserve: false },
      files: { call: mkdir, maybe: stats, extension: async () => undefined } as unknown as SftpAccess["files"],
      run: async ({ argv: [program] }) => {
        if (program === "rm") {
          await new Promise<void>((resolve) => this.removals.push(resolve));
          this.isThere = false;
        }
        return { exitCode: 0, stdout: `${this.kib}\t/d\n`, stderr: "", truncated: false };
      },
      stream: () => Promise.reject(new Error("nothing runs here")),
    };
  }
}

it("the last call that uses a directory removes it, if it has done its part", async () => {
  const remote = new Remote();
  const all = new StagingDirectories();
  const [first, second] = [
    await all.open(remote.access, "/d", callContext()),
    await all.open(remote.access, "/d", callContext()),
  ];
  await first.release(true);
  expect(remote.removals).toHaveLength(0);
  const released = second.release(true);
  expect(remote.removals).toHaveLength(1);
  // One that comes meanwhile has a directory that is not about to go.
  const third = all.open(remote.access, "/d", callContext());
  remote.removals[0]?.();
  await released;
  const opened = await third;
  expect(remote.isThere).toBe(true);
  await opened.release(false);
  expect([remote.isThere, remote.removals.length]).toEqual([true, 1]);
});

it("a try that finds much more than the one before it has found was brought further by that", async () => {
  const remote = new Remote();
  const all = new StagingDirectories();
  const grown: boolean[] = [];
  for (const kib of [0, 0, 100, 1_000, 1_100]) {
    remote.kib = kib;
    const staging = await all.open(remote.access, "/d", callContext());
    grown.push(staging.hasGrown);
    await staging.release(false);
  }
  expect(grown).toEqual([false, false, false, true, false]);
});
