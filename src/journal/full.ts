/** Errors of a disk that takes nothing more (bytes or inodes), or of a quota; both may pass. */
export const fullErrnos: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

/** `details.reason` of a fault JOURNAL that waits for space and needs no restart. */
export const fullReasons: ReadonlySet<string> = new Set([...fullErrnos, "no-space", "no-quota"]);
