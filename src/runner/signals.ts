import { constants } from "node:os";

/** `SIGKILL` for 9; `SIG42` for numbers without a name here. */
export function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `SIG${number}`;
}
