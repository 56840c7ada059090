import { describe, expect, it } from "vitest";
import { partsOf } from "../../../src/transfer/s3/parts.ts";
import { parseProfile } from "../../../src/transfer/s3/profile.ts";
import { encodeText, parseXml } from "../../../src/transfer/s3/xml.ts";

describe("files of keys", () => {
  const text = `# comment
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = a/b+c=d==

[ lab ]
AWS_ACCESS_KEY_ID=AKLAB\r
aws_secret_access_key=secret # not a comment
aws_session_token = token
s3 =
  max_concurrent_requests = 20
[empty]
aws_access_key_id = AKEMPTY
`;

  it("are read by section", () => {
    expect(parseProfile(text, "default", "f")).toMatchObject({
      accessKeyId: "AKDEFAULT",
      secretAccessKey: "a/b+c=d==",
      sessionToken: undefined,
    });
    expect(parseProfile(text, "lab", "f")).toMatchObject({
      accessKeyId: "AKLAB",
      secretAccessKey: "secret # not a comment",
      sessionToken: "token",
    });
  });

  it("without the section or its keys are refused without a word of what they hold", () => {
    const faultOf = (profile: string): unknown => {
      try {
        return parseProfile(text, profile, "/etc/keys");
      } catch (error) {
        return error;
      }
    };
    expect(faultOf("other")).toMatchObject({
      code: "SECRET",
      message: "profile 'other' of '/etc/keys' is not there",
      hint: "profiles of this file: default, lab, empty",
    });
    expect(faultOf("empty")).toMatchObject({
      code: "SECRET",
      message: expect.stringMatching(/has no aws_access_key_id/),
    });
  });
});

describe("XML", () => {
  it("is read without entities of its own, and with blanks as they are", async () => {
    const root = await parseXml(
      `<?xml version="1.0"?>\n<a:R xmlns:a="http://x/"><a:Key> a&amp;b&#x41;&#66;&other; </a:Key><Contents><Key/></Contents></a:R>`,
    );
    expect(root?.name).toBe("R");
    expect(root?.text("Key")).toBe(" a&bAB&other; ");
    expect(root?.children("Contents").map((one) => one.text("Key"))).toEqual([""]);
    expect(root?.text("__proto__")).toBeUndefined();
    expect(root?.children("Part")).toEqual([]);
  });

  it.each([
    "",
    "plain text",
    "<",
    "<a>",
    "<html><body>x</a>",
    `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`,
    "<a/><b/>",
    `${"<a>".repeat(50)}${"</a>".repeat(50)}`,
  ])("is not %j", async (text) => {
    expect(await parseXml(text)).toBeUndefined();
  });

  it("is written so that it is read as what it was", async () => {
    const text = `"<&>'`;
    expect((await parseXml(`<a><b>${encodeText(text)}</b></a>`))?.text("b")).toBe(text);
  });
});

describe("parts", () => {
  const mebibyte = 1024 ** 2;

  it("cover the file, and are never more than 10,000", () => {
    for (const bytes of [1, 5 * mebibyte, 5 * mebibyte + 1, 50_000 * mebibyte, 5 * 1024 ** 4 - 3]) {
      const parts = partsOf(bytes, 5 * mebibyte);
      expect(parts.length).toBeLessThanOrEqual(10_000);
      let next = 0;
      for (const { number, first, bytes: length } of parts) {
        expect(first).toBe(next);
        expect(parts[number - 1]?.first).toBe(first);
        next += length;
      }
      expect(next).toBe(bytes);
      for (const { bytes: length } of parts.slice(0, -1)) expect(length).toBe(parts[0]?.bytes);
    }
  });
});
