import { expect, test } from "vitest";
import { objectReference } from "../../../src/jobs/object-reference.ts";
import { fillUrl } from "../../../src/jobs/template.ts";

test.each([
  ["sys0p7x2vd08", { id: "sys0p7x2vd08", host: undefined }],
  ["nmdc:sys0p7x2vd08", { id: "sys0p7x2vd08", host: undefined }],
  ["drs://API.example.org:8443/sys0p7x2vd08", { id: "sys0p7x2vd08", host: "api.example.org:8443" }],
  ["DRS://h/a~b.c-d_e", { id: "a~b.c-d_e", host: "h" }],
])("%s is an object", (source, reference) => {
  expect(objectReference(source)).toEqual(reference);
});

test.each([
  "https://data.example.org/sys0p7x2vd08",
  "reads.fastq",
  "readsfastq",
  "SYS0P7X2VD08",
  "../sys0p7x2vd08",
  "archive:/sys0p7x2vd08",
  "drs://user@h/x",
  "drs://h/a/b",
  "drs://h/a?x=1",
  "drs://h/",
  "drs:sys0p7x2vd08",
  "",
])("%s is none", (source) => {
  expect(objectReference(source)).toBeUndefined();
});

test("a place that is the whole source takes a URL or an object, and nothing else", () => {
  const fill = (reads: string): boolean => fillUrl("{{config.reads}}", { values: {}, config: { reads } }).ok;
  expect(["https://h/x", "drs://h/x", "sys0p7x2vd08", "nmdc:sys0p7x2vd08"].map(fill)).toEqual([true, true, true, true]);
  expect(["reads.fastq", "/etc/passwd", "sys0 p7x2vd08"].map(fill)).toEqual([false, false, false]);
});
