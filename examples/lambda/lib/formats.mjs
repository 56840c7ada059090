// FASTA and FASTQ, read strictly: what is not understood is refused with file, line and record.
import { ExitError, exitCodes, readLines } from "./files.mjs";

const notABase = /[^ACGTN]/;
const notAQuality = /[^!-~]/;

function refuse(path, line, record, message) {
  const where = record === undefined ? `line ${line}` : `line ${line} (record ${record})`;
  throw new ExitError(exitCodes.data, `'${path}': ${where}: ${message}`);
}

function shown(text) {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

function checkRecord(path, record, [header, rawSequence, plus, quality]) {
  const line = record * 4 - 3;
  if (!/^@\S/.test(header)) {
    refuse(path, line, record, `'${shown(header)}' is no FASTQ header ('@' and a name expected)`);
  }
  const sequence = rawSequence.toUpperCase();
  if (sequence === "") refuse(path, line + 1, record, "the sequence is empty");
  const odd = notABase.exec(sequence);
  if (odd) refuse(path, line + 1, record, `'${odd[0]}' is no base (A, C, G, T or N expected)`);
  if (!plus.startsWith("+")) {
    refuse(path, line + 2, record, `'${shown(plus)}' found where a line beginning with '+' is expected`);
  }
  if (quality.length !== sequence.length) {
    refuse(path, line + 3, record, `${quality.length} quality values for ${sequence.length} bases`);
  }
  const badQuality = notAQuality.exec(quality);
  if (badQuality) refuse(path, line + 3, record, `'${badQuality[0]}' is no quality value ('!' to '~' expected)`);
  return { name: header.slice(1), sequence, quality };
}

/** Yields arrays of `{name, sequence, quality}` from a FASTQ file with four lines to a record; never an empty file. */
export async function* readFastq(path) {
  let pending = [];
  let record = 0;
  for await (const lines of readLines(path)) {
    pending = pending.concat(lines);
    const batch = [];
    let at = 0;
    // Up to four lines are kept back: at the end of the file they may be blank.
    for (; pending.length - at > 4; at += 4) {
      record += 1;
      batch.push(checkRecord(path, record, pending.slice(at, at + 4)));
    }
    pending = pending.slice(at);
    if (batch.length > 0) yield batch;
  }
  if (pending.some((line) => line !== "")) {
    record += 1;
    if (pending.length < 4) checkUnfinished(path, record, pending);
    yield [checkRecord(path, record, pending)];
  }
  if (record === 0) throw new ExitError(exitCodes.data, `'${path}': line 1: the file holds no reads`);
}

function checkUnfinished(path, record, lines) {
  const line = record * 4 - 3;
  if (!/^@\S/.test(lines[0])) checkRecord(path, record, [lines[0], "", "", ""]);
  refuse(path, line + lines.length, record, `the file ends after ${lines.length} of the record's 4 lines`);
}

/** The one sequence of a FASTA file as `{name, description, sequence}`; several sequences or none are refused. */
export async function readGenome(path) {
  let header;
  const parts = [];
  let number = 0;
  for await (const lines of readLines(path)) {
    for (const line of lines) {
      number += 1;
      if (line.startsWith(">")) {
        if (header !== undefined) refuse(path, number, 2, "a second sequence; a genome of one sequence is expected");
        header = line.slice(1).trim();
        continue;
      }
      const bases = line.trim().toUpperCase();
      if (bases === "") continue;
      if (header === undefined) refuse(path, number, undefined, `'${shown(line)}' is no FASTA header ('>' expected)`);
      const odd = notABase.exec(bases);
      if (odd) refuse(path, number, 1, `'${odd[0]}' is no base (A, C, G, T or N expected)`);
      parts.push(bases);
    }
  }
  if (parts.length === 0) refuse(path, Math.max(number, 1), undefined, "the file holds no sequence");
  const [name = "", ...words] = header.split(/\s+/);
  return { name, description: words.join(" "), sequence: parts.join("") };
}
