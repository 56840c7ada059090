/** How a run of npm ended. */
export interface NpmEnd {
  readonly code?: number;
  readonly signal?: string;
  readonly error?: Error;
  /** What it wrote to standard error. */
  readonly told: string;
}

/** A sentence that says what to do. */
export function explainNpm(done: NpmEnd, root: string): string;
