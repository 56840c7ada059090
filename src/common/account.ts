import { userInfo } from "node:os";

/** An account of a machine: whose the processes and files are. */
export interface Account {
  readonly name: string;
  /** Absolute. */
  readonly home: string;
  readonly uid: number;
  readonly gid: number;
  /** Ids of all its groups. */
  readonly groups: readonly number[];
}

let own: Account | undefined;

/** The account of this process, looked up once: each attempt asks, and each look reads the system's list of accounts. */
export function ownAccount(): Account {
  own ??= lookUp();
  return own;
}

function lookUp(): Account {
  const { username, homedir, uid, gid } = userInfo();
  return { name: username, home: homedir, uid, gid, groups: process.getgroups?.() ?? [] };
}
