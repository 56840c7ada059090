import { homedir } from "node:os";
import { join } from "node:path";

export type Place = "config" | "state" | "runtime";

const variables = {
  config: {
    own: "SITEAGENT_CONFIG_DIR",
    systemd: "CONFIGURATION_DIRECTORY",
    xdg: "XDG_CONFIG_HOME",
    home: ".config",
    root: "/etc/siteagent",
  },
  state: {
    own: "SITEAGENT_STATE_DIR",
    systemd: "STATE_DIRECTORY",
    xdg: "XDG_STATE_HOME",
    home: ".local/state",
    root: "/var/lib/siteagent",
  },
  runtime: {
    own: "SITEAGENT_RUNTIME_DIR",
    systemd: "RUNTIME_DIRECTORY",
    xdg: "XDG_RUNTIME_DIR",
    home: ".local/state/siteagent/run",
    root: "/run/siteagent",
  },
} as const;

/** Where siteagent keeps things: own variable, systemd's, XDG (also for root without systemd's), then the FHS place for root. */
export function locate(place: Place, env: NodeJS.ProcessEnv = process.env): string {
  const names = variables[place];
  const own = env[names.own];
  if (own) return own;
  const systemd = env[names.systemd]?.split(":")[0];
  if (systemd) return systemd;
  const xdg = env[names.xdg];
  if (xdg) return join(xdg, "siteagent");
  if (process.getuid?.() === 0) return names.root;
  return place === "runtime" ? join(homedir(), names.home) : join(homedir(), names.home, "siteagent");
}
