import { describe, expect, test } from "vitest";
import { renderSummary } from "../../src/action/summary.ts";
import type { Result } from "../../src/domain/result.ts";
import { RESULTS } from "./results.ts";

const LINKS = { serverUrl: "https://github.com", repository: "acme/web" };

describe("the job summary", () => {
  test.each(Object.entries(RESULTS))("of a run that is %s", async (name, result: Result) => {
    await expect(renderSummary(result, LINKS)).toMatchFileSnapshot(`../golden/summary-${name}.md`);
  });

  test("shows the beginning of an error that is too long", () => {
    const text = renderSummary({ ...RESULTS.failed, error: { message: "é".repeat(900_000) } }, LINKS);
    expect(Buffer.byteLength(text)).toBeLessThan(1_048_576);
    expect(text).toContain("é… (cut)\n```\n\n| Environment");
  });

  test("is never longer than what the runner keeps, and its parts are whole", () => {
    const [environment] = RESULTS["not-recorded"].environments;
    const long = { ...environment, unrecorded: "x".repeat(90_000) };
    const text = renderSummary(
      { ...RESULTS["not-recorded"], environments: Array.from({ length: 20 }, () => long) },
      LINKS,
    );
    expect(Buffer.byteLength(text)).toBeLessThan(1_048_576);
    expect(text).toMatch(/x\n```\n\n\(cut: the summary was longer than the runner keeps\)\n$/);
  });
});

describe("what comes from outside is no Markdown of the summary", () => {
  const HOSTILE = "x`|</td><script>alert(1)</script>\n\n# Forged\n[link](https://evil.example)*b*";
  const hostile: Result = {
    ...RESULTS.released,
    application: HOSTILE,
    version: HOSTILE,
    image: { ...RESULTS.released.image, name: HOSTILE },
    environments: [
      {
        environment: "my_env",
        outcome: "planned",
        plan: [HOSTILE],
        warnings: [HOSTILE],
        targets: [{ region: "eu-west-1", autoScalingGroup: HOSTILE }],
        unrecorded: `${HOSTILE}\n\`\`\`\n# Forged`,
      },
    ],
    error: { message: `${HOSTILE}\n\`\`\`\n# Forged` },
  };
  const text = renderSummary(hostile, LINKS);
  /** The text without its code blocks, whose fences are longer than any run of backticks in them. */
  const outside = text.replaceAll(/^(`{3,})text\n[\s\S]*?\n\1$/gm, "");

  test("it makes no heading and no HTML", () => {
    expect(outside).not.toMatch(/^#+ Forged/m);
    expect(outside).not.toMatch(/(?<!\\)<script/);
    expect(outside).not.toMatch(/(?<!\\)<\/td/);
    expect(outside).not.toMatch(/(?<!\\)\[link/);
  });

  test("it stays in its cell", () => {
    const rows = outside.split("\n").filter((line) => line.startsWith("|"));
    const cells = rows.map((row) => row.match(/(?<!\\)\|/g)?.length);
    expect(new Set(cells)).toStrictEqual(new Set([8, 3]));
  });

  test("a version of several lines stays in its cell", () => {
    expect(renderSummary({ ...RESULTS.released, version: "v1\n\n# Forged" }, LINKS)).not.toMatch(
      /^# Forged/m,
    );
  });

  test("its blocks are closed by their own fences only", () => {
    expect(text.match(/^`{4,}text$/gm)).toHaveLength(2);
    expect(outside).not.toContain("Forged\n```");
  });

  test("a name in the summary's line of HTML is shown as it is", () => {
    expect(text).toContain("<summary>Plan for my_env</summary>");
  });
});
