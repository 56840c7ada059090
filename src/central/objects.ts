/** Objects in both dialects: the paths are those of the NMDC Runtime, which a hub has too. */
import type { CallContext } from "../common/context.ts";
import type { NmdcApi } from "./nmdc-api.ts";
import type { Central, CentralObject } from "./types.ts";

export async function readObject(api: NmdcApi, id: string, context: CallContext): Promise<CentralObject | undefined> {
  const found = await api.object(id, context);
  return (
    found && {
      id: found.id,
      selfUri: found.self_uri ?? undefined,
      size: found.size ?? undefined,
      checksums: found.checksums ?? [],
      accessMethods: (found.access_methods ?? []).map(({ access_url: at, access_id: accessId }) => ({
        url: at?.url,
        accessId: accessId ?? undefined,
        needsHeaders: hasHeaders(at?.headers),
      })),
      isBundle: (found.contents ?? []).length > 0,
    }
  );
}

export async function readAccess(
  api: NmdcApi,
  id: string,
  accessId: string,
  context: CallContext,
): ReturnType<Central["objectAccess"]> {
  const { url, headers } = await api.objectAccess(id, accessId, context);
  return { url, needsHeaders: hasHeaders(headers) };
}

/** DRS 1.1 has them as a list of lines, others as a mapping. */
function hasHeaders(headers: unknown): boolean {
  return typeof headers === "object" && headers !== null && Object.keys(headers).length > 0;
}
