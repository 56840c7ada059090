/** The body of an allocation's script, after directives and prologue: pure. */
import { quote } from "../../runner/plan-files.ts";

export interface AllocationScript {
  /** `PATH` that the site's lines find; they may change it, and what they leave is the attempts'. */
  readonly path: string;
  readonly preamble: readonly string[];
  /** Argv that runs one copy of a program on each node; none on one node. */
  readonly starter: readonly string[];
  /** Absolute paths on the shared file system. */
  readonly directory: string;
  readonly node: string;
  readonly recorder: string;
  readonly nodes: number;
  readonly cores: number;
  readonly memoryBytes: number | undefined;
  readonly walltimeS: number;
  readonly marginS: number;
  /** 0 = never. */
  readonly idleS: number;
  readonly beatS: number;
}

/** Sets `PATH`, runs the site's lines and becomes the node agent, or the starter of one on each node. */
export function allocationBody(input: AllocationScript): string {
  const settings = [
    `allocation=${input.directory}`,
    `recorder=${input.recorder}`,
    `nodes=${input.nodes}`,
    `cores=${input.cores}`,
    `memory=${input.memoryBytes ?? 0}`,
    `walltime=${input.walltimeS}`,
    `margin=${input.marginS}`,
    `idle=${input.idleS}`,
    `beat=${input.beatS}`,
  ];
  return [
    `began=$(date +%s)`,
    `for perl in /usr/bin/perl /usr/local/bin/perl /bin/perl; do [ ! -x "$perl" ] || break; done`,
    `if [ ! -x "$perl" ]; then echo "siteagent: there is no perl on this node" >&2; exit 69; fi`,
    `PATH=${quote(input.path)}`,
    `export PATH`,
    ...input.preamble,
    ["exec", ...input.starter.map(quote), `"$perl"`, quote(input.node), `"began=$began"`, ...settings.map(quote)].join(
      " ",
    ),
    "",
  ].join("\n");
}
