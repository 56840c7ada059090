import type { Duplex } from "node:stream";
import type { SFTPWrapper } from "ssh2";
import type { CallContext } from "../../common/context.ts";

export type Done<Value> = (error?: Error | null, value?: Value) => void;

/**
 * One SFTP session at a remote, shared by all who use it. A refusal of the server is an Error with its number as `status`
 * (draft-ietf-secsh-filexfer-02, section 7); everything else that fails is a Fault: UNREACHABLE (`details.why`), CANCELLED.
 */
export interface SftpCalls {
  /** One request; requests that are made together are under way together, and servers answer in order. */
  call<Value>(context: CallContext, begin: (sftp: SFTPWrapper, done: Done<Value>) => void): Promise<Value>;
  /** The same; undefined when there is no such file. */
  maybe<Value>(context: CallContext, begin: (sftp: SFTPWrapper, done: Done<Value>) => void): Promise<Value | undefined>;
  /** The same for an extension; undefined when the server does not offer it. */
  extension<Value>(
    context: CallContext,
    begin: (sftp: SFTPWrapper, done: Done<Value>) => void,
  ): Promise<{ readonly value: Value } | undefined>;
}

/** A command at the remote; its whole output comes at the end. */
export interface RemoteCommand {
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
}

export interface RemoteAnswer {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
}

/** A command at the remote whose input and output flow. */
export interface StreamedCommand {
  readonly argv: readonly [string, ...string[]];
  /** Absolute, links resolved. */
  readonly cwd: string;
  /** The whole environment. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Ending it ends input and output of the command. */
export interface RunningCommand extends AsyncDisposable {
  /** Written: standard input. Read: standard output. */
  readonly pipe: Duplex;
  /** Settles when it is over; an exit code when the server tells one. @throws Fault UNREACHABLE, CANCELLED. */
  readonly ended: Promise<{ readonly exitCode: number | undefined; readonly stderr: string }>;
}

/** What the site file says of a remote. */
export interface SftpSettings {
  /**
   * `digest`: by `sha256sum` there, or by reading back where no command runs; `sample`: sizes, and of single outputs some ranges that are
   * read back; `size`: sizes alone.
   */
  readonly verify: "digest" | "sample" | "size";
  /** What happens to a file of another content that lies at a destination. */
  readonly existing: "replace" | "refuse";
  /** Commands may be tried there. */
  readonly shell: boolean;
  /** Permissions and modification times go along, both ways. */
  readonly preserve: boolean;
}

/** The way to one account on one machine. */
export interface SftpAccess {
  /** What messages call it. */
  readonly label: string;
  readonly settings: SftpSettings;
  readonly files: SftpCalls;
  /** @throws Fault UNREACHABLE (`details.why` "session": no commands there), LAUNCH, CANCELLED. */
  run(command: RemoteCommand, context: CallContext): Promise<RemoteAnswer>;
  /** Resolves when it runs. @throws Fault as `run`. */
  stream(command: StreamedCommand, context: CallContext): Promise<RunningCommand>;
}
