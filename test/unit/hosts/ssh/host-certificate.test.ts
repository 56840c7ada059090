import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { certifies, parseCertified, wireText } from "../../../../src/hosts/ssh/certified.ts";
import { judgeShown } from "../../../../src/hosts/ssh/host-certificate.ts";
import { parseKnownHosts } from "../../../../src/hosts/ssh/known-hosts.ts";

const texts = (...all: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(all.map((one) => wireText(Buffer.from(one))));

function number(value: bigint, bytes: 4 | 8): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 4) buffer.writeUInt32BE(Number(value));
  else buffer.writeBigUInt64BE(value);
  return buffer;
}

const raw = (key: KeyObject): Buffer => Buffer.from(key.export({ format: "jwk" }).x ?? "", "base64url");
const authority = generateKeyPairSync("ed25519");
const server = generateKeyPairSync("ed25519");
const authorityKey = texts("ssh-ed25519", raw(authority.publicKey));
const serverKey = texts("ssh-ed25519", raw(server.publicKey));
const now = 1_800_000_000;

interface Wishes {
  readonly kind?: bigint;
  readonly names?: readonly string[];
  readonly options?: Buffer;
  readonly by?: KeyObject;
  readonly after?: bigint;
  readonly before?: bigint;
}

function certificate(wishes: Wishes = {}): Buffer {
  const { kind = certifies.servers, names = ["login.example.org"], options = Buffer.alloc(0) } = wishes;
  const { by = authority.privateKey, after = BigInt(now - 10), before = BigInt(now + 10) } = wishes;
  const signed = Buffer.concat([
    texts("ssh-ed25519-cert-v01@openssh.com", "nonce", raw(server.publicKey)),
    number(7n, 8),
    number(kind, 4),
    texts("a machine", texts(...names)),
    number(after, 8),
    number(before, 8),
    texts(options, "", "", authorityKey),
  ]);
  return Buffer.concat([signed, texts(texts("ssh-ed25519", sign(null, signed, by)))]);
}

const line = `@cert-authority *.example.org ssh-ed25519 ${authorityKey.toString("base64")}`;
const place = { name: "Login.example.org", port: 22 };

function judge(blob: Buffer, known = line) {
  return judgeShown(parseKnownHosts(known, "/k"), place, blob, now * 1000).verdict;
}

describe("a server's certificate", () => {
  test("of a known authority makes its key known, and the key is what has to have signed", () => {
    expect(judge(certificate())).toEqual({ state: "known" });
    expect(judge(certificate({ names: ["login*"] }))).toEqual({ state: "known" });
    const { key } = judgeShown(parseKnownHosts(line, "/k"), place, certificate(), now * 1000);
    expect(key).toEqual(serverKey);
  });

  test.each([
    ["is one of an account", { kind: certifies.accounts }, "not one of a server"],
    ["is for another name", { names: ["login.example.com"] }, "for other names: login.example.com"],
    ["is for no name", { names: [] }, "for other names: none"],
    ["ran out just now", { before: BigInt(now) }, "has run out"],
    ["begins in a second", { after: BigInt(now + 1) }, "not valid yet"],
    [
      "wants something unknown",
      { options: texts("from-tomorrow", "") },
      "options that nobody here knows: from-tomorrow",
    ],
    ["names an authority that has not signed it", { by: server.privateKey }, "not signed by the authority"],
  ])("that %s is refused", (_, wishes, flaw) => {
    expect(judge(certificate(wishes))).toMatchObject({ state: "unknown", flaw: expect.stringContaining(flaw) });
  });

  test("does not count without a line of its authority for the name", () => {
    const others = [
      line.replace("*.example.org", "*.example.com"),
      line.replace("@cert-authority ", ""),
      line.replace("@cert-authority", "@revoked"),
      `${line}\n@revoked * ssh-ed25519 ${serverKey.toString("base64")}`,
    ];
    for (const known of others) expect(judge(certificate(), known).state).not.toBe("known");
    expect(judge(certificate(), `* ssh-ed25519 ${serverKey.toString("base64")}`)).toEqual({ state: "known" });
  });

  test("of which any byte was changed, or that was cut or continued, is refused", () => {
    const whole = certificate();
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at & 7));
      expect(judge(changed).state).not.toBe("known");
    }
    for (let length = 0; length < whole.length; length++)
      expect(() => parseCertified(whole.subarray(0, length))).toThrow();
    expect(() => parseCertified(Buffer.concat([whole, Buffer.alloc(1)]))).toThrow();
  });
});
