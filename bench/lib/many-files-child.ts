/**
 * Moves very many files by the engine in a process of its own, recording each as the agent does: argv[2] is JSON. Says `idle` when it
 * is ready, begins with a line on its standard input, and prints how many files lie there in the end.
 */
import { once } from "node:events";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ManifestFile, readManifest } from "../../src/agent/manifest-file.ts";
import { systemClock } from "../../src/common/clock.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { newToken } from "../../src/common/token.ts";
import { createTransferEngine } from "../../src/transfer/engine.ts";
import { createLocalTransfer } from "../../src/transfer/local/index.ts";
import { compilePolicy } from "../../src/transfer/policy.ts";
import { TransferRegistry } from "../../src/transfer/registry.ts";
import { createSftpTransfer } from "../../src/transfer/sftp/index.ts";
import type { SshServer } from "../../test/helpers/engines/ssh-server.ts";
import { accessTo } from "../../test/integration/transfer/sftp-harness.ts";

export interface ManyFilesTask {
  /** Without it the source is a directory of this machine, of which links are made. */
  readonly settings?: ReturnType<SshServer["settings"]>;
  /** Absolute. */
  readonly source: string;
  /** The job's directory; lists and the manifest lie beside it. */
  readonly job: string;
}

const task = JSON.parse(process.argv[2] ?? "") as ManyFilesTask;
const far = task.settings;
const rule = far ? `sftp://far${task.source}/` : `${pathToFileURL(task.source).href}/`;
const policy = compilePolicy({ sources: [rule], destinations: [] });
await using way = far && accessTo(far);
const adapter = way ? createSftpTransfer({ policy, access: () => way.access }) : createLocalTransfer({ policy });
const lists = `${task.job}-lists`;
await using engine = createTransferEngine({ policy, registry: new TransferRegistry([adapter]), lists });
const manifest = `${task.job}-manifest.jsonl`;
await using done = await ManifestFile.open(manifest);
process.stdout.write("idle\n");
await once(process.stdin, "data");
process.stdin.pause();
const outcome = await engine.run(
  {
    token: newToken(),
    direction: "in",
    root: join(task.job, "in"),
    items: [
      {
        name: "data",
        kind: "directory",
        source: rule.slice(0, -1),
        target: "data",
        required: true,
        mode: far ? "copy" : "link",
        include: [],
        exclude: [],
      },
    ],
    known: readManifest(manifest),
    onFile: (entry) => done.add(entry),
  },
  { signal: new AbortController().signal, log: silentLogger, clock: systemClock },
);
await done.sync();
process.stdout.write(`${JSON.stringify({ files: outcome.files, movedBytes: outcome.movedBytes })}\n`);
