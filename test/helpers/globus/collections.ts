/** Collections of the stand-in for Globus: directories of this machine. */
import { createHash } from "node:crypto";
import { copyFile, lstat, mkdir, readdir, readFile, readlink, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/** What an operation is refused with. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A `file` document. */
export interface FileDocument {
  readonly DATA_TYPE: "file";
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly last_modified: string;
  readonly link_target: string | null;
}

export async function statDocument(root: string, path: string): Promise<FileDocument> {
  const real = join(root, path);
  try {
    const link = await lstat(real);
    const target = link.isSymbolicLink() ? await readlink(real) : null;
    const found = await stat(real).catch(() => undefined);
    const type =
      found === undefined ? "invalid_symlink" : found.isDirectory() ? "dir" : found.isFile() ? "file" : "pipe";
    return {
      DATA_TYPE: "file",
      name: path.split("/").at(-1) ?? "",
      type,
      size: found?.size ?? 0,
      last_modified: timeText(found?.mtimeMs ?? 0),
      link_target: target,
    };
  } catch {
    throw new Refused(404, "NotFound", `Path not found, Error (list)\nMessage: No such file or directory: ${path}`);
  }
}

export async function listDocument(root: string, path: string, query: URLSearchParams): Promise<object> {
  const itself = await statDocument(root, path);
  if (itself.type !== "dir") {
    throw new Refused(502, "ExternalError.DirListingFailed.NotDirectory", `Not a directory, Error (list)\n${path}`);
  }
  const names = (await readdir(join(root, path))).toSorted();
  const limit = Number(query.get("limit") ?? 100_000);
  const offset = Number(query.get("offset") ?? 0);
  const page = names.slice(offset, offset + limit);
  const DATA = await Promise.all(page.map((name) => statDocument(root, `${path}/${name}`)));
  return { DATA_TYPE: "file_list", path, length: DATA.length, total: names.length, limit, offset, DATA };
}

/** As Globus does: parents are made, the file is written at its final name. False: sync_level found the same content. */
export async function copyItem(from: string, to: string, syncLevel: unknown): Promise<boolean> {
  if (syncLevel === 3 && (await digestOf(from)) === (await digestOf(to).catch(() => ""))) return false;
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
  return true;
}

async function digestOf(path: string): Promise<string> {
  return createHash("md5")
    .update(await readFile(path))
    .digest("hex");
}

/** Whole seconds, a blank in the middle, as the service writes it. */
function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")}+00:00`;
}
