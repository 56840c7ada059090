/** A file that a module of scripts/generate/ makes out of the code's own tables. */
export interface GeneratedFile {
  /** Relative to the repository. */
  readonly path: string;
  /** Before formatting. */
  readonly content: string;
}
