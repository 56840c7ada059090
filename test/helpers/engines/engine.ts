/** What a probe found: usable here, or why not. */
export type EngineProbe =
  | { readonly ok: true; readonly version: string }
  | { readonly ok: false; readonly reason: string };

/** A real program that some tests need and not every machine has. */
export interface Engine {
  /** Debian packages that bring it; installed only under `CI=true` or by `npm test -- --install`. */
  readonly debianPackages: readonly string[];
  /** Looks whether it can be used here; never rejects for its absence. */
  probe(): Promise<EngineProbe>;
}
