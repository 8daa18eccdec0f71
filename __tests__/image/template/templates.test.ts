import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { templateReport, TEMPLATES, templatesIn } from "../../../script/templates.ts";

/** What `npm run templates` prints, kept by `npm run -s templates > __tests__/golden/templates.txt`. Look at what changes. */

const NAMES = templatesIn(TEMPLATES);
const GOLDEN = join(import.meta.dirname, "../../golden/templates.txt");

/** By template's name. */
const kept = new Map(
  readFileSync(GOLDEN, "utf8")
    .split(/\n(?=\S)/)
    .map((text) => [text.split("\n")[0] ?? "", `${text.trimEnd()}\n`]),
);

describe("the templates in __tests__/templates", () => {
  test("are at least 30, and none is left over in the golden file", () => {
    expect(NAMES.length).toBeGreaterThanOrEqual(30);
    expect([...kept.keys()]).toStrictEqual(NAMES);
  });

  test.each(NAMES)("%s", async (name) => {
    expect(await templateReport(TEMPLATES, name)).toBe(kept.get(name));
  });
});
