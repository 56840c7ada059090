import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { connect } from "../connect.ts";
import type { CliContext } from "../context.ts";
import { StreamDecoder } from "../format/stream.ts";
import { hintNearest } from "../hints.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent outputs cat ID PATH`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const [word = "", path = ""] = call.args;
  await using backend = await connect(context, call.options);
  const id = await resolveId(backend, word);
  const files = await backend.outputs(id);
  const named = files.filter((file) => file.output === path);
  const file = files.find((one) => one.path === path) ?? (named.length === 1 ? named[0] : undefined);
  if (!file) {
    throw new Fault("NOT_FOUND", `job '${id}' has no output ${quoted(path)}`, {
      hint:
        files.length === 0
          ? "it has none at all"
          : hintNearest(
              path,
              files.map((one) => one.path),
            ),
    });
  }
  const bytes = await backend.readOutput(id, file);
  if (context.out.interactive) {
    const decoder = new StreamDecoder();
    context.print(decoder.decode(bytes) + decoder.end());
  } else context.stdout.write(bytes);
  return 0;
}
