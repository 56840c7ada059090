/** Objects of the central API as sources of inputs: `drs://host/id`, `nmdc:id`, or the id alone. */

export interface ObjectReference {
  readonly id: string;
  /** With its port, lower case; undefined: the central API, whatever it is called. */
  readonly host: string | undefined;
}

/** Ids as the NMDC Runtime makes them (`sys0p7x2vd08`); nothing that could be a path or a host. */
const bareId = /^(?:nmdc:)?([a-z]+[0-9][a-z0-9]{5,40})$/;
const drsUri = /^drs:\/\/([^/?#@]+)\/([A-Za-z0-9._~-]+)$/i;

/** The object that a source names; undefined: it is none, but a URL. */
export function objectReference(source: string): ObjectReference | undefined {
  const [, id] = bareId.exec(source) ?? [];
  if (id !== undefined) return { id, host: undefined };
  const [, host, name] = drsUri.exec(source) ?? [];
  return host === undefined || name === undefined ? undefined : { id: name, host: host.toLowerCase() };
}
