import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { expect, it } from "vitest";
import { cleanEnvironment } from "../../helpers/cli.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { startCluster } from "../../helpers/engines/postgres-cluster.ts";
import { freshDatabase } from "../../helpers/engines/postgres.ts";
import { isAlive } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { waitFor } from "../../helpers/wait.ts";

async function ask(url: string, statement: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>({ text: statement })).rows;
  } finally {
    await client.end();
  }
}

describeWithEngine("postgres", "freshDatabase", () => {
  it("gives an empty database that is dropped with its scope although somebody is connected", async () => {
    let url = "";
    const guest = await (async () => {
      await using database = await freshDatabase();
      url = database.url;
      expect(await ask(url, "SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = 'public'")).toEqual([
        { n: 0 },
      ]);
      const client = new Client({ connectionString: url });
      client.on("error", () => {});
      await client.connect();
      return client;
    })();
    await expect(ask(url, "SELECT 1")).rejects.toMatchObject({ code: "3D000" });
    await guest.end();
  });

  it("gives every caller its own", async () => {
    await using one = await freshDatabase();
    await using two = await freshDatabase();
    await ask(one.url, "CREATE TABLE t (x int)");
    await expect(ask(two.url, "SELECT * FROM t")).rejects.toMatchObject({ code: "42P01" });
  });

  it("refuses whoever has no password", async () => {
    await using database = await freshDatabase();
    const url = new URL(database.url);
    url.password = "wrong";
    await expect(ask(url.href, "SELECT 1")).rejects.toMatchObject({ code: "28P01" });
  });
});

describeWithEngine("postgres", "startCluster", () => {
  it("leaves no process and no file after its scope", async () => {
    let directory: string;
    let pid: number;
    {
      await using cluster = await startCluster();
      directory = cluster.directory;
      pid = await postmaster(directory);
      expect(isAlive(pid)).toBe(true);
    }
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(directory)).toBe(false);
  });

  it("ends with the process that started it, also when that is killed", async () => {
    const module = JSON.stringify(join(import.meta.dirname, "../../helpers/engines/postgres-cluster.ts"));
    const source = `const { startCluster } = await import(${module});
      console.log((await startCluster()).directory);
      setInterval(() => {}, 1000);`;
    await using program = await Program.start(process.execPath, ["--input-type=module", "-e", source], {
      env: cleanEnvironment("/"),
    });
    const directory = (await program.output(/^(\/.+)$/m))[1] ?? "";
    const pid = await postmaster(directory);
    expect(isAlive(pid)).toBe(true);
    program.signal("SIGKILL");
    await waitFor(() => !isAlive(pid) && !existsSync(directory), { what: "the end of PostgreSQL and its directory" });
  });
});

async function postmaster(directory: string): Promise<number> {
  return Number((await readFile(join(directory, "data", "postmaster.pid"), "utf8")).split("\n")[0]);
}
