// Reading and writing of the files of readqc: plain or gzipped text in, complete files out.
import { createReadStream, createWriteStream, openSync, readSync, closeSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";

/** An expected failure: its message is the whole story, its code the exit code of the process (sysexits). */
export class ExitError extends Error {
  constructor(exitCode, message) {
    super(message);
    this.name = "ExitError";
    this.exitCode = exitCode;
  }
}

export const exitCodes = { usage: 64, data: 65, noInput: 66, internal: 70, output: 74 };

const inputReasons = {
  ENOENT: "no such file",
  EACCES: "no permission to read it",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of its path is not a directory",
};

function inputError(path, error) {
  const reason = inputReasons[error.code] ?? error.message;
  return new ExitError(exitCodes.noInput, `cannot read '${path}': ${reason}`);
}

function isGzip(path) {
  const magic = Buffer.alloc(2);
  const file = openSync(path, "r");
  try {
    return readSync(file, magic, 0, 2, 0) === 2 && magic[0] === 0x1f && magic[1] === 0x8b;
  } finally {
    closeSync(file);
  }
}

function readError(path, lines, error) {
  if (error.code === "Z_BUF_ERROR") {
    return new ExitError(
      exitCodes.data,
      `'${path}': line ${lines + 1}: the gzip data end early, the file is truncated`,
    );
  }
  if (typeof error.code === "string" && error.code.startsWith("Z_")) {
    return new ExitError(exitCodes.data, `'${path}': line ${lines + 1}: the gzip data are damaged (${error.message})`);
  }
  return inputError(path, error);
}

/** Yields the lines of a plain or gzipped text file (told apart by content, not by name) in arrays, without line ends. */
export async function* readLines(path) {
  let lines = 0;
  let rest = "";
  let file;
  try {
    const gzip = isGzip(path);
    file = createReadStream(path);
    const source = gzip ? file.pipe(createGunzip()) : file;
    file.once("error", (error) => source.destroy(error));
    source.setEncoding("latin1");
    for await (const chunk of source) {
      const batch = (rest + chunk).split("\n");
      rest = batch.pop() ?? "";
      lines += batch.length;
      yield batch.map(withoutReturn);
    }
  } catch (error) {
    if (error instanceof ExitError) throw error;
    throw readError(path, lines, error);
  } finally {
    file?.destroy();
  }
  if (rest !== "") yield [withoutReturn(rest)];
}

function withoutReturn(line) {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

function outputError(path, error) {
  if (error instanceof ExitError) return error;
  return new ExitError(exitCodes.output, `cannot write '${path}': ${error.message}`);
}

async function replaceFrom(path, write) {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await write(temporary);
    const handle = await open(temporary, "r+");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw outputError(path, error);
  }
}

/** Writes a text file under a temporary name and renames it when it is complete. */
export async function writeText(path, text) {
  await replaceFrom(path, (temporary) => pipeline(Readable.from([text]), createWriteStream(temporary)));
}

/** Writes gzipped text from pieces of text; the header carries neither time nor name, so equal input gives equal bytes. */
export async function writeGzip(path, pieces) {
  await replaceFrom(path, (temporary) => pipeline(Readable.from(pieces), createGzip(), createWriteStream(temporary)));
}

export async function writeJson(path, value) {
  await writeText(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Text of a tab-separated table with a header line. */
export function tsv(header, rows) {
  return [header, ...rows].map((row) => `${row.join("\t")}\n`).join("");
}
