import { formatSize } from "../../common/units.ts";
import type { OutputFile } from "../../wire/common.ts";
import { connect } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { type Column, tableText } from "../format/table.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent outputs ls ID`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using backend = await connect(context, call.options);
  const files = await backend.outputs(await resolveId(backend, call.args[0] ?? ""));
  if (context.format === "jsonl") await printData(context, files);
  else if (isMachine(context.format)) await printData(context, { outputs: files });
  else if (context.format === "name") context.print(files.map((file) => `${file.path}\n`).join(""));
  else {
    const { ellipsis } = context.symbols;
    context.print(
      tableText(files, columns(context), context.out, { header: files.length > 0, dropEmpty: true, ellipsis }),
    );
    if (files.length === 0) context.note("no outputs");
  }
  return 0;
}

function columns(context: CliContext): readonly Column<OutputFile>[] {
  const digits = context.format === "wide" || !context.out.interactive ? 64 : 12;
  return [
    { key: "output", title: "OUTPUT", value: (file) => file.output },
    { key: "path", title: "PATH", value: (file) => file.path, shrinkTo: 16 },
    { key: "size", title: "SIZE", value: (file) => formatSize(file.bytes), right: true },
    { key: "sha256", title: "SHA-256", value: (file) => file.sha256.slice(0, digits) },
    { key: "where", title: "WHERE", value: (file) => file.url ?? (file.stored ? "hub" : "site"), shrinkTo: 12 },
  ];
}
