import { type TransferHarness, transferSuite } from "../../src/conformance/transfer/index.ts";
import { adapters, type TransferName } from "./adapters.ts";
import { describeSuite } from "./suite.ts";

/** The suite of all transfers on one of them. */
export function describeTransfer(name: TransferName, make: () => Promise<TransferHarness>): void {
  describeSuite(transferSuite, name, adapters.transfer[name], make);
}
