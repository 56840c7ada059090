import { asFault, Fault } from "../../common/fault.ts";
import type { Logger } from "../../common/logger.ts";
import { endsSoon, outOfTime, readCertificate } from "./certificate.ts";
import { addressesOf, connectRoute, type LoggedIn } from "./connect.ts";
import { unreachable, whyOf } from "./faults.ts";
import { type Route, routesOf } from "./route.ts";
import type { SshSettings } from "./settings.ts";

/** The machines that are one host, each with all its addresses. */
export class LoginNodes {
  readonly #settings: SshSettings;
  /** Where the last good connection went, or the next attempt after a refused login begins. */
  #first = 0;

  constructor(settings: SshSettings) {
    this.#settings = settings;
  }

  /** What is about to run out, or has, of that by which we log in; asks nobody. @throws Fault CONFIG for settings that cannot be followed. */
  async endings(nowMs: number): Promise<readonly string[]> {
    const hops = (await routesOf(this.#settings)).flatMap(({ jumps, target }) => [...jumps, target]);
    const found: string[] = [];
    for (const path of new Set(hops.flatMap(({ certificates }) => certificates))) {
      const certificate = await readCertificate(path).catch(() => undefined); // said when it is needed
      const words = certificate && (outOfTime(certificate, nowMs) ?? endsSoon(certificate, nowMs));
      if (words !== undefined) found.push(words);
    }
    return found;
  }

  /**
   * To the first that lets us in, beginning with the last good one. A refused login ends the attempt: the account is the same everywhere.
   * @throws Fault UNREACHABLE, or CONFIG for settings that cannot be followed.
   */
  async connect(signal: AbortSignal, log: Logger): Promise<LoggedIn> {
    const options = { keepaliveMs: this.#settings.keepaliveMs, signal };
    const candidates = await candidatesOf(await routesOf(this.#settings));
    const faults: Fault[] = [];
    for (let index = 0; index < candidates.length; index++) {
      const place = (this.#first + index) % candidates.length;
      const candidate = candidates[place];
      if (candidate === undefined || signal.aborted) break;
      if (candidate instanceof Fault) {
        faults.push(candidate);
        continue;
      }
      try {
        const loggedIn = await connectRoute(candidate.route, candidate.address, options);
        for (const fault of faults) log.warn({ err: fault }, "a login node was passed over");
        this.#first = place;
        return loggedIn;
      } catch (error) {
        const fault = asFault(error);
        if (whyOf(fault) === "login") this.#first = place + 1;
        if (whyOf(fault) === "login" || whyOf(fault) === "configuration") throw fault;
        faults.push(fault);
      }
    }
    throw worst(faults);
  }
}

interface Candidate {
  readonly route: Route;
  readonly address: string;
}

/** A name that DNS does not know is a failed candidate, not the end. */
async function candidatesOf(routes: readonly Route[]): Promise<readonly (Candidate | Fault)[]> {
  const candidates: (Candidate | Fault)[] = [];
  for (const route of routes) {
    try {
      const addresses = await addressesOf(route.jumps[0] ?? route.target);
      candidates.push(...addresses.map((address) => ({ route, address })));
    } catch (error) {
      candidates.push(asFault(error));
    }
  }
  return candidates;
}

/** A key that is not trusted says more than a machine that is off. */
function worst(faults: readonly Fault[]): Fault {
  const chosen = faults.find((fault) => whyOf(fault) === "host-key") ?? faults[0];
  if (!chosen) return unreachable("network", "the host has no address, or siteagent stops");
  const others = faults.filter((fault) => fault !== chosen).map((fault) => fault.message);
  if (others.length === 0) return chosen;
  const hint = chosen.hint === undefined ? {} : { hint: chosen.hint };
  return unreachable(whyOf(chosen) ?? "network", [chosen.message, ...new Set(others)].join("; "), hint);
}
