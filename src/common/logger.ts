/**
 * What every part logs through; passed in, never a module singleton. `warn` and above have a static message and put data
 * in the object. `error`: our bug or an administrator is needed; `warn`: look at it in a batch; a user's bad job is `info`.
 */
export interface Logger {
  debug(data: object, message: string): void;
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
  /** A logger with these fields bound to every line (component, jobId, schedulerId, transferId). */
  child(bindings: object): Logger;
}

/** A logger that drops everything. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child() {
    return silentLogger;
  },
};
