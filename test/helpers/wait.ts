export { waitFor, type WaitOptions } from "../../src/conformance/wait.ts";
