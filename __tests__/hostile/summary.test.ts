import fc from "fast-check";
import { parsers } from "prettier/plugins/markdown";
import { describe, expect, test } from "vitest";
import { renderSummary } from "../../src/action/summary.ts";
import type { Digest, ImageId } from "../../src/domain/image.ts";
import type { Result } from "../../src/domain/result.ts";
import { hostile, told } from "./texts.ts";

/** A Markdown document's tree, as far as a text could change it. */
interface MarkdownNode {
  readonly type: string;
  readonly value?: string;
  readonly url?: string;
  readonly depth?: number;
  readonly children?: readonly MarkdownNode[];
}

async function tree(markdown: string): Promise<MarkdownNode> {
  return (await parsers.markdown.parse(markdown, {} as never)) as MarkdownNode;
}

/** Inline nodes that only say how text looks: code where it fits, escaped text where it does not. */
const PLAIN: ReadonlySet<string> = new Set(["text", "inlineCode", "whitespace", "word", "sentence"]);

/** The structure without the texts: neighbouring texts and codes are one; what is in HTML and in links counts. */
function shape(node: MarkdownNode): unknown {
  if (PLAIN.has(node.type)) return "text";
  const children = (node.children ?? []).map(shape);
  const merged = children.filter((child, index) => child !== "text" || children[index - 1] !== "text");
  // Of HTML the tags: a name between them is text.
  const own = node.type === "html" ? node.value?.match(/<[^>]*>?/g) : undefined;
  return [node.type, node.depth, own, merged].filter((part) => part !== undefined);
}

const LINKS = { serverUrl: "https://github.com", repository: "acme/web" };

/** Results in which every text that comes from outside is one of these. */
function resultOf(text: () => string, many: number): Result {
  const several = <T>(make: () => T): T[] => Array.from({ length: many }, make);
  return {
    command: "deploy",
    outcome: "failed",
    application: text(),
    commit: text(),
    version: text(),
    image: {
      digest: text() as Digest,
      name: text(),
      ids: { [`r-${text()}`]: text() as ImageId },
      baked: false,
      commit: text(),
      created: text(),
      baseImages: { [`r-${text()}`]: text() as ImageId },
      phases: [{ phase: text(), seconds: 1 }],
    },
    environments: several(() => ({
      environment: text(),
      outcome: "failed",
      release: text(),
      previousRelease: text(),
      plan: several(text),
      warnings: several(text),
      targets: several(() => ({
        region: text(),
        autoScalingGroup: text(),
        launchTemplateVersion: text(),
        verified: 1,
        seconds: 1,
        ended: "failed" as const,
      })),
      unrecorded: text(),
      changes: {
        since: text(),
        sameContent: false,
        commits: {
          added: 2,
          takenBack: 0,
          listed: "added",
          newest: several(() => ({ commit: text(), subject: text() })),
          url: `https://github.com/acme/web/compare/${text()}`,
        },
        content: {
          counts: { changed: 1, added: 1, removed: 1 },
          changed: [text()],
          added: [text()],
          removed: [text()],
          variables: [text()],
        },
        packages: {
          counts: { changed: many, added: many, removed: many },
          changed: several(() => ({ name: text(), from: text(), to: text() })),
          added: several(() => ({ name: text(), version: text() })),
          removed: several(() => ({ name: text(), version: text() })),
        },
        baseImage: { from: text() as ImageId, to: text() as ImageId },
        targets: several(() => ({ target: text(), image: { from: text(), to: text() } })),
      },
    })),
    status: several(() => ({
      environment: text(),
      release: text(),
      version: text(),
      commit: text(),
      imageId: text() as ImageId,
      baseImage: text(),
      actor: text(),
      sinceText: text(),
      running: 1,
      inService: 1,
      drift: several(text),
    })),
    prune: {
      kept: 1,
      gigabytes: 1,
      images: several(() => ({
        region: text(),
        imageId: text() as ImageId,
        name: text(),
        action: "waiting" as const,
        why: text(),
        days: 1,
        gigabytes: 1,
        failed: text(),
      })),
    },
    error: { message: text(), state: text(), next: text() },
  };
}

/** The same with texts of a list, again and again from its beginning. */
function filledWith(texts: readonly string[], many = 2): Result {
  let index = -1;
  return resultOf(() => {
    index += 1;
    return texts[index % texts.length] ?? "";
  }, many);
}

const render = (texts: readonly string[]): string => renderSummary(filledWith(texts), LINKS);

/** Texts that show something: an empty one has no text in its place, which is no forgery. */
const shown = hostile.map((text) => `x${text}`);
const begun = hostile.map((text) => `${text}x`);

describe("the summary's structure", () => {
  test("is the same whatever the texts are", async () => {
    const expected = shape(await tree(render(["x"])));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(shown, begun), { minLength: 1, maxLength: 7 }), async (texts) => {
        expect(shape(await tree(render(texts)))).toStrictEqual(expected);
      }),
      told("summaries of hostile texts", 100),
    );
  });

  test("is the same for each weapon, wherever it stands", async () => {
    const { WEAPONS } = await import("./texts.ts");
    const expected = shape(await tree(render(["x"])));
    for (const weapon of WEAPONS)
      for (const text of [`${weapon}x`, `x${weapon}`, `x ${weapon} x`])
        expect(shape(await tree(render([text]))), JSON.stringify(text)).toStrictEqual(expected);
  });

  test("has links to GitHub's own pages only", async () => {
    const urls = (node: MarkdownNode): string[] => [
      ...(node.url === undefined ? [] : [node.url]),
      ...(node.children ?? []).flatMap(urls),
    ];
    const { WEAPONS } = await import("./texts.ts");
    const found = urls(await tree(render(WEAPONS)));
    expect(found.filter((url) => !url.startsWith("https://github.com/acme/web/"))).toEqual([]);
  });

  test("mentions nobody", async () => {
    const texts = (node: MarkdownNode): string[] => [
      ...(node.type === "text" ? [node.value ?? ""] : []),
      ...(node.children ?? []).flatMap(texts),
    ];
    const found = texts(await tree(render(["`@octocat", "x` @acme/team", "`a@b.example"])));
    expect(found.join("\n")).toContain("@\u2060octocat");
    expect(found.filter((text) => /@\w/.test(text))).toEqual([]);
  });
});

describe("the summary's size", () => {
  test("is bounded, whatever there is", () => {
    for (const [texts, many] of [
      [["|".repeat(100_000)], 5],
      [["é".repeat(2_000_000)], 2],
      [["x"], 60],
    ] as const) {
      const text = renderSummary(filledWith(texts, many), LINKS);
      expect(Buffer.byteLength(text)).toBeLessThan(1_048_576);
    }
  });
});
