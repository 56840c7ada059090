/** Takes secrets out of what others said, before it is kept or shown: servers quote what they were sent. */

const censor = "[redacted]";
/** Shorter ones are part of ordinary words. */
const shortestSecret = 4;

/** The ways in which a text holds a secret: as it is, in JSON, in a URL or form, in base64 or hexadecimal. Longest first. */
export function formsOf(secret: string): readonly string[] {
  const inJson = JSON.stringify(secret).slice(1, -1);
  const form = new URLSearchParams({ x: secret }).toString().slice(2);
  const bytes = Buffer.from(secret);
  const forms = [
    secret,
    inJson,
    JSON.stringify(inJson).slice(1, -1),
    encodeURIComponent(secret),
    form,
    bytes.toString("hex"),
    ...base64Forms(bytes),
  ];
  return [...new Set(forms)].filter((one) => one !== "").toSorted((a, b) => b.length - a.length);
}

/** Base64 of a longer text has the secret's own characters at one of three offsets; the first and last may share bits with others. */
function base64Forms(bytes: Buffer): readonly string[] {
  if (bytes.length < 6) return [bytes.toString("base64"), bytes.toString("base64url")];
  return [0, 1, 2].flatMap((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    const own = text.slice(Math.ceil((offset * 8) / 6), text.length - 1);
    return [own, own.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

/** `text` without any form of the `secrets`; those of fewer than 4 characters stay. */
export function redactText(text: string, secrets: readonly string[]): string {
  const sought = secrets.filter((secret) => secret.length >= shortestSecret);
  let clean = text;
  for (const form of sought.flatMap((secret) => formsOf(secret))) clean = clean.replaceAll(form, censor);
  return clean;
}
