/** What every command needs of `node:crypto`. An import of that module reads all that it exports, and so loads Web Crypto: 10 ms of a start. */
export const { createHash, randomBytes, randomUUID } = process.getBuiltinModule("node:crypto");
