import { build } from "../../scripts/build/build.ts";
import { TestSite, type TestSiteOptions } from "../../test/helpers/site.ts";

/** An app that does nothing, for benchmarks of everything around it. */
export const noop = { command: ["/bin/true"] } as const;

let built: Promise<unknown> | undefined;

/** Hub and agent of the release build in processes of their own, on loopback; one job of the app `noop` has gone through them. */
export async function startRelease(options: Partial<Omit<TestSiteOptions, "release">> = {}): Promise<TestSite> {
  built ??= build();
  await built;
  const site = await TestSite.start({
    ...options,
    release: true,
    apps: { noop, ...options.apps },
    agent: { report: "minimal", ...options.agent },
  });
  try {
    await site.startAgent();
    const { id } = await site.submit("noop");
    await site.ended(id);
    return site;
  } catch (error) {
    await site[Symbol.asyncDispose]();
    throw error;
  }
}
