import { array, assert, constantFrom, integer, oneof, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { jobsOfJson } from "../../../../src/schedulers/pbs/qstat-json.ts";
import { parseLooseJson } from "../../../../src/schedulers/pbs/loose-json.ts";
import { parseQstat, qstat } from "../../../../src/schedulers/pbs/qstat.ts";
import { tokensOf } from "../../../../src/schedulers/pbs/record.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";
import { finished } from "../../../helpers/steps.ts";
import { recorded, result } from "./recorded.ts";

const ids = (name: string, format: "json" | "text" = "json"): readonly string[] => [
  ...finished(parseQstat(recorded(name), format)).records.keys(),
];

describe("qstat's command", () => {
  const question = { ids: ["1.s", "2.s"], flavour: "openpbs", format: "json", history: true } as const;

  it("asks for all ids in one request, ended jobs and tasks included", () => {
    expect(qstat(question).argv).toEqual(["qstat", "-x", "-t", "-f", "-E", "-F", "json", "1.s", "2.s"]);
    expect(qstat({ ...question, history: false, format: "text" }).argv).toEqual(["qstat", "-t", "-f", "1.s", "2.s"]);
  });

  it("gives Torque no -x, which means XML there", () => {
    expect(qstat({ ...question, flavour: "torque" }).argv).toEqual(["qstat", "-f", "-1", "-t", "1.s", "2.s"]);
  });
});

describe("qstat's answer", () => {
  it("E4: of a server that is down is no answer, although it is valid JSON", () => {
    const answer = finished(parseQstat(recorded("server-down-qstat"), "json"));
    expect(answer).toMatchObject({ records: new Map(), unknown: new Set(), unreadable: false });
    expect(answer.trouble).toContain("cannot connect to server");
  });

  it("E9: to one known and one unknown id has the one and names the other", () => {
    const answer = finished(parseQstat(recorded("qstat-known-and-unknown"), "json"));
    expect([...answer.records.keys()]).toEqual(["5.pbshost"]);
    expect([...answer.unknown]).toEqual(["999.pbshost"]);
    expect(answer.trouble).toBeUndefined();
  });

  it("to an unknown id alone names it", () => {
    expect(finished(parseQstat(recorded("qstat-unknown-only"), "json")).unknown).toEqual(new Set(["999.pbshost"]));
  });

  it("to three ids has the first alone without -E, and says nothing of the others", () => {
    expect(ids("qstat-several-ids-json")).toEqual(["0.pbshost"]);
    expect(finished(parseQstat(recorded("qstat-several-ids-json"), "json"))).toMatchObject({
      unknown: new Set(),
      trouble: undefined,
    });
    expect(ids("qstat-several-ids-grouped-json")).toEqual(["0.pbshost", "1.pbshost", "2.pbshost"]);
  });

  it("has an array and its tasks", () => {
    expect(ids("qstat-array-json")).toEqual(["7[].pbshost", "7[0].pbshost", "7[1].pbshost", "7[2].pbshost"]);
  });

  it("in text says the same as in JSON, with lines that go on", () => {
    const text = finished(parseQstat(recorded("qstat-text-full"), "text")).records.get("1.pbshost")?.attributes;
    const json = finished(parseQstat(recorded("qstat-all-json-later"), "json")).records.get("1.pbshost")?.attributes;
    for (const [name, value] of json ?? []) {
      if (!name.startsWith("Variable_List")) expect([name, text?.get(name)]).toEqual([name, value]);
    }
    expect(text?.get("Variable_List")).toBe(
      "PBS_O_HOME=/home/alice,PBS_O_LANG=C.UTF-8,PBS_O_LOGNAME=alice,PBS_O_PATH=/opt/pbs/bin:/usr/bin:/bin,PBS_O_SHELL=/bin/bash," +
        "PBS_O_INTERACTIVE_AUTH_METHOD=resvport,PBS_O_INTERACTIVE_ENCRYPT_METHOD=,PBS_O_WORKDIR=/home/alice,PBS_O_SYSTEM=Linux," +
        "PBS_O_QUEUE=workq,PBS_O_HOST=pbshost",
    );
  });

  it("that was refused because no history is kept is no answer, although the exit status is 0", () => {
    const stderr = "qstat: PBS is not configured to maintain job history 5.pbshost\n";
    const stdout = '{\n\t"timestamp":\t1,\n\t"pbs_version":\t"23.06.06",\n\t"pbs_server":\t"pbshost"\n}\n';
    expect(finished(parseQstat(result({ stdout, stderr }), "json"))).toMatchObject({
      historyOff: true,
      unknown: new Set(),
    });
  });

  it("names jobs that are in the history alone", () => {
    const stderr = "qstat: 5.pbshost Job has finished, use -x or -H to obtain historical job information\n";
    const answer = finished(parseQstat(result({ exitCode: 35, stdout: "{}\n", stderr }), "json"));
    expect([...answer.finished]).toEqual(["5.pbshost"]);
  });

  it("of a qstat that does not know an option, or that is cut, is unreadable or none", () => {
    const usage = result({ exitCode: 2, stderr: "qstat: invalid option -- 'F'\nusage: \nqstat [-f] …\n" });
    expect(finished(parseQstat(usage, "json"))).toMatchObject({ records: new Map(), unknown: new Set() });
    const whole = recorded("qstat-all-json-later");
    const cut = { ...whole, stdout: whole.stdout.slice(0, 5_000), truncated: true };
    expect(finished(parseQstat(cut, "json"))).toMatchObject({ records: new Map(), unreadable: false });
    expect(finished(parseQstat(cut, "json")).trouble).toContain("more than is read");
  });

  it("E17: with banners around it on stderr is what it is", () => {
    const whole = recorded("qstat-several-ids-grouped-json");
    const answer = finished(
      parseQstat({ ...whole, stderr: "*** Welcome to the cluster ***\nMaintenance on Monday\n" }, "json"),
    );
    expect(answer.records.size).toBe(3);
    expect(answer.trouble).toBeUndefined();
  });

  it("that has no end of a line keeps no record that may be incomplete", () => {
    const { stdout } = recorded("qstat-text-full");
    const two = stdout + stdout.replace("1.pbshost", "2.pbshost").slice(0, 900);
    expect([...finished(parseQstat(result({ stdout: two }), "text")).records.keys()]).toEqual(["1.pbshost"]);
  });

  it("any output gives an answer", fuzzing, () => {
    const { stdout } = recorded("qstat-array-json");
    const text = recorded("qstat-text-full").stdout;
    const piece = oneof(
      string({ unit: "binary" }),
      constantFrom(stdout, text, "{", "}", '"Jobs":', "Job Id: 1.s\n", "    job_state = F\n", "\t", "\0", '"', "\\u12"),
      integer({ min: 0, max: stdout.length }).map((at) => stdout.slice(at)),
      integer({ min: 0, max: text.length }).map((at) => text.slice(0, at)),
    );
    const output = array(piece, { maxLength: 6 }).map((pieces) => pieces.join(""));
    assert(
      property(output, output, constantFrom("json", "text"), (out, err, format) => {
        const answer = finished(parseQstat(result({ stdout: out, stderr: err }), format));
        expect(answer.records).toBeInstanceOf(Map);
      }),
      fuzz(150),
    );
  });
});

describe("an answer about thousands of jobs", () => {
  const { stdout } = recorded("qstat-all-json-later");
  const [, head = "", member = "", tail = ""] =
    /^(.*?"Jobs":\t\{)(\n\t\t".*?\n\t\t\})(?=,\n).*(\n\t\}\n\}\n)$/s.exec(stdout) ?? [];
  const many = (count: number, change: (job: string, index: number) => string = (job) => job): string =>
    head +
    Array.from({ length: count }, (_, index) => change(member.replace("0.pbshost", `${index}.pbshost`), index)).join(
      ",",
    ) +
    tail;
  const jobsOf = (text: string) => finished(jobsOfJson(text));

  it("is read in steps, to the same as at once", () => {
    const text = many(500);
    expect(JSON.parse(text)).toBeTypeOf("object");
    let steps = 0;
    const reading = jobsOfJson(text);
    for (let step = reading.next(); !step.done; step = reading.next()) steps++;
    expect(steps).toBe(500);
    const [one] = jobsOf(head + member + tail) ?? [];
    expect(jobsOf(text)?.map(({ id }) => id)).toEqual(Array.from({ length: 500 }, (_, index) => `${index}.pbshost`));
    expect(jobsOf(text)?.[300]?.attributes).toEqual(one?.attributes);
  });

  it("loses no job for one that is no JSON, or for a layout that is not qstat's", () => {
    const odd = [
      many(300, (job, index) => (index === 7 ? job.replace('"ok"', "007") : job)),
      many(300, (job, index) => (index === 299 ? job.replace('"ok"', "nan") : job)),
      many(300, (job, index) => (index === 7 ? job.replace('"ok"', '"a\n\t\t"b"') : job)),
      many(300, (job, index) => (index === 7 ? `${job},` : job)),
      JSON.stringify(JSON.parse(many(300)), null, 2),
      JSON.stringify(JSON.parse(many(1_000))),
    ];
    for (const text of odd) expect(jobsOf(text)?.length).toBeGreaterThanOrEqual(300);
    expect(jobsOf(many(300).slice(0, -2))).toBeUndefined();
    expect(jobsOf(many(300).slice(0, -300))).toBeUndefined();
    expect(jobsOf(`${many(300)}x`)).toBeUndefined();
  });
});

describe("JSON that is none", () => {
  const jobs = (text: string): unknown => {
    const answer = finished(parseQstat(result({ stdout: text }), "json"));
    return [...answer.records].map(([id, { attributes }]) => [id, Object.fromEntries(attributes)]);
  };

  it("with the member Jobs several times has the jobs of all", () => {
    const text = '{"Jobs":{"1.s":{"job_state":"R"},"Jobs":{"2.s":{"job_state":"Q"}}';
    expect(jobs(`${text.replace('},"Jobs"', '}},"Jobs"')}}`)).toEqual([
      ["1.s", { job_state: "R" }],
      ["2.s", { job_state: "Q" }],
    ]);
  });

  it("with words that are no numbers keeps them as they are", () => {
    const text = '{"Jobs":{"1.s":{"Job_Name":"a","comment":007,"depend":nan,"exec_host":1e5,"Hold_Types":.5}}}';
    expect(jobs(text)).toEqual([
      ["1.s", { Job_Name: "a", comment: "007", depend: "nan", exec_host: "1e5", Hold_Types: ".5" }],
    ]);
  });

  it("with an exported shell function has the other attributes", () => {
    const value = '() {  eval `/usr/bin/modulecmd bash $*`;\n if [ "$1" ]; then echo "x"; fi\n}';
    const text = `{"Jobs":{"1.s":{"Variable_List":{"BASH_FUNC_module()":"${value}","SITEAGENT_ATTEMPT_TOKEN":"abcdefghijklmno"},"job_state":"R"}}}`;
    const record = finished(parseQstat(result({ stdout: text }), "json")).records.get("1.s");
    expect(record?.attributes.get("job_state")).toBe("R");
    expect(record && tokensOf(record)).toEqual(["abcdefghijklmno"]);
  });

  it("with a comma too many or too few is read", () => {
    expect(jobs('{"Jobs":{"1.s":{"comment":"b",}\n,"2.s":{"comment":"b"\n"depend":"d"}},}')).toEqual([
      ["1.s", { comment: "b" }],
      ["2.s", { comment: "b", depend: "d" }],
    ]);
  });

  it("that does not close is unreadable", () => {
    const { stdout } = recorded("qstat-array-json");
    expect(finished(parseQstat(result({ stdout: stdout.slice(0, -30) }), "json"))).toMatchObject({
      unreadable: true,
      records: new Map(),
    });
  });

  it("what is JSON is read as JSON.parse reads it", fuzzing, () => {
    const text = string({ unit: "binary", maxLength: 20 });
    assert(
      property(array(text), (values) => {
        const object = Object.fromEntries(values.map((value, index) => [`k${index}`, value]));
        expect(Object.fromEntries(parseLooseJson(JSON.stringify(object)) ?? [])).toEqual(object);
      }),
      fuzz(300),
    );
  });
});
