/** Keys of `hosts.NAME.ssh`. */
import { z } from "zod";
import { duration } from "../common/zod-units.ts";
import { secretSchema } from "./secret-schema.ts";

const hostName = z
  .string()
  .max(255)
  .regex(/^[^\s@:[\]/-][^\s@/]*$/, "a name, alias or address, without account and port");

const jumpHost = z
  .string()
  .max(400)
  .regex(/^([^@\s-][^@\s]*@)?(\[[^\]\s]+\]|[^\s:[\]@/-][^\s:[\]@/]*)(:\d{1,5})?$/, "[account@]host[:port]");

export const sshSchema = z
  .strictObject({
    host: z.union([hostName, z.array(hostName).min(1).max(32)]).meta({
      description: "name or alias of the login node; a list where several are the same host: they are tried in order",
      examples: ["login.example.org"],
    }),
    user: z
      .string()
      .max(64)
      .regex(/^[^\s:@-][^\s:@]*$/, "the name of an account")
      .optional()
      .meta({ description: "account there; default: as the SSH configuration says, else the agent's own" }),
    port: z
      .int()
      .min(1)
      .max(65535)
      .optional()
      .meta({ description: "port of the SSH server; default: as the SSH configuration says, else 22" }),
    key: secretSchema.optional().meta({
      description:
        "private key to log in with; default: the agent's keys and the identity files of the SSH configuration",
    }),
    passphrase: secretSchema.optional().meta({ description: "what opens the key, if it is encrypted" }),
    agent: z.boolean().optional().meta({
      description: "use the authentication agent (SSH_AUTH_SOCK, IdentityAgent); default: if no key is named",
    }),
    known_hosts: z.string().min(1).max(4096).optional().meta({
      description: "file with the keys of the servers; default: known_hosts of the account and of the machine",
    }),
    jump: z
      .union([jumpHost, z.array(jumpHost).max(8)])
      .optional()
      .meta({
        description:
          "machines to go through, [account@]host[:port], in order; []: none; default: ProxyJump of the SSH configuration",
      }),
    config: z
      .union([z.boolean(), z.string().min(1).max(4096)])
      .default(true)
      .meta({
        description: "use the SSH configuration of account and machine; a path: this file alone; false: none",
      }),
    keepalive: duration()
      .prefault("15s")
      .meta({ description: "a silent connection is asked so often, and given up after three unanswered times" }),
  })
  .meta({ description: "reach the host by SSH" });

export type SshInput = z.output<typeof sshSchema>;
