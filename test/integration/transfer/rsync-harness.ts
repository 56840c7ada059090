import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createRsyncTransfer } from "../../../src/transfer/rsync/index.ts";
import { remotePath } from "../../../src/transfer/rsync/program.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { SshServerOptions } from "../../helpers/engines/ssh-server.ts";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";
import { type SftpHarness, sftpHarness } from "./sftp-harness.ts";

/** The same server and way to it, by `rsync:` URLs. */
export async function rsyncHarness(
  options: SshServerOptions = {},
  change: Parameters<typeof sftpHarness>[1] = {},
): Promise<SftpHarness> {
  const far = await sftpHarness(options, change);
  const rules = far.policy.sources.map(byRsync);
  const policy = { sources: rules, destinations: rules };
  return {
    ...far,
    policy,
    adapter: createRsyncTransfer({ policy: compilePolicy(policy), access: far.find }),
    url: (name) => byRsync(far.url(name)),
    [Symbol.asyncDispose]: () => far[Symbol.asyncDispose](),
  };
}

function byRsync(url: string): string {
  return url.replace(/^sftp:/, "rsync:");
}

/** A login script for an account whose `rsync` is this script; without one there is none. */
export async function loginWith(directory: TemporaryDirectory, script?: string): Promise<string> {
  const programs = directory.join("programs");
  await mkdir(programs);
  if (script !== undefined) {
    await writeFile(`${programs}/rsync`, script);
    await chmod(`${programs}/rsync`, 0o755);
  }
  // The first line that comes is a key of 33 characters and a script; what comes after it passes.
  return [
    "#!/bin/sh",
    "case $SSH_ORIGINAL_COMMAND in (internal-sftp) exec /usr/lib/openssh/sftp-server;; esac",
    "IFS= read -r line",
    `line=$(printf '%s' "$line" | sed 's#${remotePath}#${programs}#g')`,
    `exec /usr/bin/env -i /bin/sh -c "\${line#${"?".repeat(33)}}"`,
    "",
  ].join("\n");
}
