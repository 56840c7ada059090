import { type CliContext, isMachine, printData } from "../context.ts";
import { buildKind, packageVersion } from "../version.ts";

/** `siteagent version`. */
export async function run(context: CliContext): Promise<number> {
  const version = packageVersion();
  if (isMachine(context.format)) {
    const { arch, platform, version: node } = process;
    await printData(context, { version, node: node.slice(1), platform: `${platform}-${arch}`, build: buildKind() });
  } else if (context.format === "name") context.print(`${version}\n`);
  else {
    context.print(
      context.format === "wide" ? `siteagent ${version} (Node ${process.versions.node})\n` : `siteagent ${version}\n`,
    );
  }
  return 0;
}
