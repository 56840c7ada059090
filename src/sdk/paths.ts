/** Where our own API begins on every hub. */
export const api = "/siteagent/v1";
