import { describeHost } from "../../conformance/host.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { sshHarness } from "./ssh-harness.ts";

describeWithEngine("sshd", "a host over SSH", () => {
  describeHost("ssh", () => sshHarness());
});
