/** One way to prove the promises; `npm run prove` runs all of them, or those that are named. */
export interface Phase {
  readonly name: string;
  run(options: PhaseOptions): Promise<PhaseResult>;
}

export interface PhaseOptions {
  readonly jobs: number;
  readonly kills: number;
  /** So many of them, or more kills, are the agent's; default: as it comes. */
  readonly agentKills?: number;
  readonly seed: number;
  readonly histories: number;
  /** Only cases whose name holds this text. */
  readonly only: string | undefined;
  readonly say: (line: string) => void;
}

export interface PhaseResult {
  /** What was done, for the table. */
  readonly counts: readonly (readonly [what: string, count: number])[];
  /** What is not as it was promised; empty = proven. */
  readonly failures: readonly string[];
}
