import { type HostHarness, hostSuite } from "../../src/conformance/host/index.ts";
import { adapters, type HostName } from "./adapters.ts";
import { describeSuite } from "./suite.ts";

/** The suite of all hosts on one of them. */
export function describeHost(name: HostName, make: () => Promise<HostHarness>): void {
  describeSuite(hostSuite, name, adapters.host[name], make);
}
