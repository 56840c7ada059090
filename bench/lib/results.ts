/** The results page with the section `## NAME` replaced by `text`, or added at the end. */
export function withSection(page: string, name: string, text: string): string {
  const sections = page.split(/^(?=## )/m);
  const index = sections.findIndex((section) => section.startsWith(`## ${name}\n`));
  const made = `${text.trimEnd()}\n\n`;
  const next = index < 0 ? [...sections.map((one) => `${one.trimEnd()}\n\n`), made] : sections.with(index, made);
  return `${next.join("").trimEnd()}\n`;
}
