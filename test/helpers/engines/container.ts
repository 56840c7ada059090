import { request } from "node:http";
import { mkdir } from "node:fs/promises";
import { Daemon } from "../daemon.ts";
import { temporaryDirectory } from "../temporary.ts";
import { findProgram } from "./command.ts";
import type { Engine, EngineProbe } from "./engine.ts";
import { podmanHome } from "./podman-home.ts";

const answerWithinMs = 3_000;
const readyWithinMs = 60_000;
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** What Podman's service needs for networks of containers. */
const servicePrograms = ["podman", "crun", "conmon", "iptables", "unshare"];

/** Where container engines listen: DOCKER_HOST, Docker's place, Podman's places for a person and for root. */
function sockets(): readonly string[] {
  const host = process.env["DOCKER_HOST"];
  if (host?.startsWith("unix://")) return [host.slice("unix://".length)];
  const runtime = process.env["XDG_RUNTIME_DIR"];
  return ["/var/run/docker.sock", ...(runtime ? [`${runtime}/podman/podman.sock`] : []), "/run/podman/podman.sock"];
}

/**
 * A container engine with an API socket, which is what testcontainers needs: one that answers already, or a service of Podman's that a test
 * starts for itself, which takes root.
 */
export const container: Engine = {
  debianPackages: ["podman", "crun", "iptables"],
  async probe() {
    const answers = await Promise.all(sockets().map(ping));
    const answer = answers.find(({ ok }) => ok);
    if (answer) return answer;
    const none = `no engine answers at ${sockets().join(", ")}`;
    if (process.getuid?.() !== 0) return { ok: false, reason: `${none}, and a service of one's own needs root` };
    const missing = servicePrograms.filter((name) => findProgram(name, ["/usr/sbin", "/sbin"]) === undefined);
    if (missing.length > 0) return { ok: false, reason: `${none}, and there is no ${missing.join(", ")}` };
    return { ok: true, version: "a service of Podman's" };
  },
};

export interface ContainerService extends AsyncDisposable {
  /** For DOCKER_HOST. */
  readonly url: string;
}

/** The engine that answers, or a service with a storage and networks of its own. */
export async function containerService(): Promise<ContainerService> {
  for (const socket of sockets())
    if ((await ping(socket)).ok) return { url: `unix://${socket}`, [Symbol.asyncDispose]: async () => {} };
  await using resources = new AsyncDisposableStack();
  const directory = resources.use(await temporaryDirectory("sa-podman-"));
  const { program, environment } = await podmanHome(directory);
  const socket = directory.join("sock");
  await mkdir(directory.join("networks"));
  const daemon = resources.use(
    await Daemon.start({
      argv: [program, "system", "service", "--time=0", `unix://${socket}`],
      environment: { PATH: path, HOME: directory.join("home"), LC_ALL: "C", ...environment },
      cwd: directory.path,
      log: directory.join("log"),
    }),
  );
  await daemon.until(async () => (await ping(socket)).ok, "a service that answers", readyWithinMs);
  const kept = resources.move();
  return { url: `unix://${socket}`, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function ping(socketPath: string): Promise<EngineProbe> {
  const { promise, resolve } = Promise.withResolvers<EngineProbe>();
  const call = request({ socketPath, path: "/_ping", timeout: answerWithinMs }, (response) => {
    response.resume();
    const version = String(response.headers["api-version"] ?? "");
    resolve(response.statusCode === 200 ? { ok: true, version } : { ok: false, reason: socketPath });
  });
  call.on("timeout", () => call.destroy(new Error("no answer")));
  call.on("error", () => resolve({ ok: false, reason: socketPath }));
  call.end();
  return promise;
}
