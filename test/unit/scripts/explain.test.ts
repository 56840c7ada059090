import { describe, expect, it } from "vitest";
import { explainNpm } from "../../../scripts/bootstrap/explain.mjs";

describe("explainNpm", () => {
  it.each(["npm ERR! code EAI_AGAIN\nnpm ERR! errno EAI_AGAIN", "npm error code EAI_AGAIN"])(
    "knows the words of npm 9 and of later ones: %s",
    (told) => {
      expect(explainNpm({ code: 1, told }, "/r")).toBe(
        "npm ci ended with 1 (EAI_AGAIN): the npm registry's name cannot be looked up: is this machine offline?",
      );
    },
  );

  it("says what to install when there is no npm", () => {
    const error = Object.assign(new Error("spawn npm ENOENT"), { code: "ENOENT" });
    expect(explainNpm({ error, told: "" }, "/r")).toContain("apt-get install npm");
  });

  it("gives the command to see more when it does not know the cause", () => {
    expect(explainNpm({ code: 7, told: "npm ERR! code EODD" }, "/r")).toContain("cd '/r' && npm ci --ignore-scripts");
  });
});
