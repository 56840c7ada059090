/** One connection: the way through the jumps, the check of each server's key, the login. */
import { lookup } from "node:dns/promises";
import type { Duplex } from "node:stream";
import type { Client, ConnectConfig, ServerHostKeyAlgorithm } from "ssh2";
import { asFault, type Fault } from "../../common/fault.ts";
import { useCertificates } from "./certificate.ts";
import { tuneCiphers } from "./ciphers.ts";
import { hostKeyFault, loginFault, unreachable, wordsOf } from "./faults.ts";
import { allowHostCertificates, certificateTypes, judgeShown, useHostCertificate } from "./host-certificate.ts";
import { type KnownKey, knownName, knownTypes, linesOf, readKnownHosts } from "./known-hosts.ts";
import { type Login, prepareLogin } from "./login.ts";
import type { Hop, Route } from "./route.ts";
import { openWire, type Wire } from "./socket.ts";

/** Of one address, before the next one is tried. */
const socketTimeoutMs = 10_000;
/** From the first byte to the end of the login. */
const handshakeTimeoutMs = 30_000;
/** Lost after so many unanswered ones. */
const keepalivesMissed = 3;

export interface ConnectOptions {
  readonly keepaliveMs: number;
  /** The end of all attempts. */
  readonly signal: AbortSignal;
}

/** Both ends of a connection whose login has succeeded. */
export interface LoggedIn {
  readonly client: Client;
  /** Of the last machine. */
  readonly hop: Hop;
  /** Of all machines on the way: when one is lost, so is everything behind it, which does not notice by itself. */
  readonly clients: readonly Client[];
  /** Ends the connection and those of the jumps. */
  end(): void;
}

/** Addresses at which the first machine of a way may be; DNS decides the order. @throws Fault UNREACHABLE when the name is unknown. */
export async function addressesOf({ address, label }: Hop): Promise<readonly string[]> {
  try {
    return (await lookup(address, { all: true })).map((found) => found.address);
  } catch (error) {
    throw unreachable("network", `'${label}' cannot be found: ${wordsOf(error)}`, { cause: error });
  }
}

/** @throws Fault UNREACHABLE with `details.why`. Nothing of a failed attempt stays open. */
export async function connectRoute(route: Route, address: string, options: ConnectOptions): Promise<LoggedIn> {
  const { default: ssh2 } = await import("ssh2");
  // What is wrong on this side is found before anybody is asked.
  const stages: Stage[] = [];
  for (const hop of [...route.jumps, route.target]) {
    const known = await readKnownHosts(hop.knownHosts);
    const login = await prepareLogin(hop, ssh2.utils.parseKey);
    stages.push({ hop, known, hostKeys: offered(known, hop), login, client: new ssh2.Client() });
  }
  const end = (): void => {
    for (const { client } of stages.toReversed()) client.destroy();
  };
  try {
    let before: Stage | undefined;
    for (const stage of stages) {
      const wire = before ? await forwarded(before, stage.hop) : await wireTo(address, stage.hop, options);
      tuneCiphers(stage.client, "socket" in wire ? wire : undefined);
      await shakeHands(stage, "socket" in wire ? wire.socket : wire, options);
      before = stage;
    }
    if (!before) throw unreachable("configuration", "the way has no machine");
    return { client: before.client, hop: route.target, clients: stages.map(({ client }) => client), end };
  } catch (error) {
    end();
    throw error;
  }
}

/** One machine on the way, and what is needed to get into it. */
interface Stage {
  readonly hop: Hop;
  readonly known: readonly KnownKey[];
  /** Algorithms of its keys, in the order in which they are asked for. */
  readonly hostKeys: readonly string[];
  readonly login: Login;
  readonly client: Client;
}

async function wireTo(address: string, hop: Hop, { signal }: ConnectOptions): Promise<Wire> {
  const wire = openWire({ host: address, port: hop.port });
  const { socket } = wire;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${socketTimeoutMs / 1000} s`)), socketTimeoutMs);
  const stop = (): void => reject(new Error("ended"));
  signal.addEventListener("abort", stop, { once: true });
  socket.once("connect", resolve).once("error", reject);
  try {
    await promise;
    return wire;
  } catch (error) {
    socket.on("error", () => {}).destroy();
    throw unreachable("network", `'${hop.label}' cannot be reached at ${address}: ${wordsOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

/** A stream to the next machine through the one before. */
async function forwarded({ client, hop: from }: Stage, to: Hop): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  client.forwardOut("127.0.0.1", 0, to.address, to.port, (error, stream) => {
    if (error) reject(error);
    else resolve(stream);
  });
  try {
    return await promise;
  } catch (error) {
    const message = `'${to.label}' cannot be reached through '${from.label}': ${wordsOf(error)}`;
    throw unreachable("network", message, {
      hint: `the jump host must allow it (AllowTcpForwarding): ssh -W ${to.address}:${to.port} ${from.label}`,
      cause: error,
    });
  }
}

/** Checks the server's key and logs in. */
async function shakeHands(stage: Stage, socket: Duplex, { keepaliveMs, signal }: ConnectOptions): Promise<void> {
  const { client, hop, known, hostKeys, login } = stage;
  const name = knownName(hop.name, hop.port);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let wrongKey: Fault | undefined;
  const fail = (words: string): void =>
    reject(wrongKey ?? unreachable("network", `'${hop.label}' does not let us in: ${words}`));
  client.on("ready", resolve);
  // Not "close" alone: a stream through a jump host stays open on our side.
  client.on("end", () => fail("it hung up")).on("close", () => fail("it hung up"));
  client.on("error", (error: Error & { readonly level?: string }) => {
    if (error.level === "agent") return; // without an agent the other keys are left
    if (error.level === "client-authentication") reject(loginFault(hop, login.refused()));
    else fail(wordsOf(error));
  });
  const stop = (): void => void socket.destroy();
  signal.addEventListener("abort", stop, { once: true });
  const config = {
    sock: socket,
    username: hop.user,
    readyTimeout: handshakeTimeoutMs,
    keepaliveInterval: keepaliveMs,
    keepaliveCountMax: keepalivesMissed,
    algorithms: { serverHostKey: [...hostKeys] as ServerHostKeyAlgorithm[] },
    hostVerifier: (shown: Buffer): boolean => {
      const { key, verdict } = judgeShown(known, hop, shown, Date.now());
      try {
        if (verdict.state !== "known") throw hostKeyFault(verdict, hop, name, key);
        if (key !== shown) useHostCertificate(client, shown, key);
        return true;
      } catch (error) {
        wrongKey = asFault(error);
        return false;
      }
    },
    authHandler: login.handler as ConnectConfig["authHandler"],
  };
  try {
    client.connect(config as ConnectConfig);
    if (login.certificates) useCertificates(client);
    await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Certificates first where there is an authority for the name, as OpenSSH asks for them. */
function offered(known: readonly KnownKey[], hop: Hop): readonly string[] {
  const name = knownName(hop.name, hop.port);
  const plain = hostKeyAlgorithms(knownTypes(known, name));
  if (!linesOf(known, name).some(({ marker }) => marker === "cert-authority")) return plain;
  allowHostCertificates();
  return [...certificateTypes, ...plain];
}

/** Without SHA-1, as OpenSSH since 8.8. */
const algorithms: readonly (readonly [string, ServerHostKeyAlgorithm])[] = [
  ["ssh-ed25519", "ssh-ed25519"],
  ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"],
  ["ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"],
  ["ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"],
  ["ssh-rsa", "rsa-sha2-512"],
  ["ssh-rsa", "rsa-sha2-256"],
];

/** Types whose key is known come first, so that the server shows one that can be compared. */
export function hostKeyAlgorithms(known: readonly string[]): readonly ServerHostKeyAlgorithm[] {
  const first = algorithms.filter(([type]) => known.includes(type));
  const others = algorithms.filter(([type]) => !known.includes(type));
  return [...first, ...others].map(([, algorithm]) => algorithm);
}
