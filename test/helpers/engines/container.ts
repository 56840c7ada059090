import { request } from "node:http";
import type { Engine, EngineProbe } from "./engine.ts";

const answerWithinMs = 3_000;

/** Where container engines listen: DOCKER_HOST, Docker's place, Podman's places for a person and for root. */
function sockets(): readonly string[] {
  const host = process.env["DOCKER_HOST"];
  if (host?.startsWith("unix://")) return [host.slice("unix://".length)];
  const runtime = process.env["XDG_RUNTIME_DIR"];
  return ["/var/run/docker.sock", ...(runtime ? [`${runtime}/podman/podman.sock`] : []), "/run/podman/podman.sock"];
}

/** A container engine that answers on its API socket, which is what testcontainers needs; a client program says nothing. */
export const container: Engine = {
  debianPackages: [],
  async probe() {
    const answers = await Promise.all(sockets().map(ping));
    return answers.find((answer) => answer.ok) ?? { ok: false, reason: `no engine answers at ${sockets().join(", ")}` };
  },
};

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
