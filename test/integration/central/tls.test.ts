import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { openCentral } from "../../../src/central/discover.ts";
import type { Central } from "../../../src/central/types.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { expiredCertificate, foreignCertificate, goodCertificate, testKey } from "./certificates.ts";
import { testContext } from "./context.ts";

/** Counts the requests that came through the handshake. */
async function tlsServer(cert: string): Promise<{ readonly url: string; requests: number } & AsyncDisposable> {
  const server = createServer({ key: testKey, cert }, (_request, response) => {
    started.requests++;
    response.writeHead(500).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const started = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return started;
}

function centralOf(url: string, caFile?: string): Promise<Central> {
  return openCentral({
    url,
    site: "lab-a",
    agentId: "a",
    clientId: "c",
    clientSecret: async () => "s",
    dialect: "nmdc",
    caFile,
  });
}

test.each([
  ["of an unknown authority", goodCertificate, undefined, "api.ca_file"],
  ["that has expired", expiredCertificate, expiredCertificate, "expired"],
  ["for another name", foreignCertificate, foreignCertificate, "another name"],
])("refuses a certificate %s, names the remedy, and sends nothing", async (_name, cert, trusted, remedy) => {
  await using directory = await temporaryDirectory();
  await using server = await tlsServer(cert);
  const caFile = directory.join("ca.pem");
  if (trusted !== undefined) await writeFile(caFile, trusted);
  await using central = await centralOf(server.url, trusted === undefined ? undefined : caFile);
  await expect(central.claim("j", testContext())).rejects.toMatchObject({
    code: "UNREACHABLE",
    details: { kind: "tls" },
    hint: expect.stringContaining(remedy),
  });
  expect(server.requests).toBe(0);
});

test("trusts the certificates of api.ca_file", async () => {
  await using directory = await temporaryDirectory();
  await using server = await tlsServer(goodCertificate);
  const caFile = directory.join("ca.pem");
  await writeFile(caFile, goodCertificate);
  await using central = await centralOf(server.url, caFile);
  await expect(central.claim("j", testContext())).rejects.toMatchObject({ details: { kind: "status", status: 500 } });
  expect(server.requests).toBe(1);
});
