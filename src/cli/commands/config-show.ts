import { resolve } from "node:path";
import { builtInRegistries } from "../../config/registries.ts";
import { type ShownSetting, showSite } from "../../config/show.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { type Column, tableText } from "../format/table.ts";
import { siteFilePath } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent config show`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const [given] = call.args;
  const file = given === undefined ? siteFilePath(context, call.options.text("config")) : resolve(context.cwd, given);
  const shown = await showSite(file, builtInRegistries, { env: context.env });
  if (context.format === "jsonl") await printData(context, shown.settings);
  else if (isMachine(context.format)) await printData(context, shown);
  else if (context.format === "name") context.print(shown.settings.map((setting) => `${setting.path}\n`).join(""));
  else context.print(tableText(shown.settings, columns(context, file), context.out, tableOptions(context)));
  return 0;
}

function tableOptions(context: CliContext) {
  return { header: true, dropEmpty: true, ellipsis: context.symbols.ellipsis };
}

function columns(context: CliContext, file: string): readonly Column<ShownSetting>[] {
  const origin = (setting: ShownSetting): string => setting.origin.replace(`${file}:`, "line ");
  const all: readonly Column<ShownSetting>[] = [
    { key: "setting", title: "SETTING", value: (setting) => setting.path },
    {
      key: "origin",
      title: "ORIGIN",
      value: origin,
      style: (setting) => (setting.origin === "default" ? "dim" : undefined),
    },
    {
      key: "description",
      title: "DESCRIPTION",
      value: (setting) => setting.description ?? "",
      style: () => "dim",
      shrinkTo: 12,
    },
    // The last: never cut, and nothing stands behind a long one.
    { key: "value", title: "VALUE", value: (setting) => valueText(setting.value), below: true },
  ];
  return context.format === "wide" ? all : all.filter(({ key }) => key !== "description");
}

function valueText(value: ShownSetting["value"]): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
