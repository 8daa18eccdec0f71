import { expect, test } from "vitest";
import { readText } from "./markdown.ts";
import { errorMessages } from "./source.ts";

const plain = (text: string): string => text.replaceAll("`", "").replace(/\s+/g, " ");
const page = plain(readText("docs/troubleshooting.md"));

/** Pieces shorter than this, such as " is ", say nothing by themselves. */
const TELLING = 8;

/** The pieces of a message that the page has to have: the telling ones, or where there are none the longest. */
function tellingPieces(pieces: readonly string[]): string[] {
  const texts = pieces.map((piece) =>
    plain(piece)
      .trim()
      .replace(/^[:",]\s*|[:",]$/g, "")
      .trim(),
  );
  const telling = texts.filter((text) => text.length >= TELLING);
  return telling.length > 0 ? telling : [texts.toSorted((a, b) => b.length - a.length)[0] ?? ""];
}

const messages = errorMessages();

test("the messages are found in the sources", () => {
  const texts = messages.map(({ pieces }) => pieces.join("…"));
  expect(texts).toContain("There is no Auto Scaling group … in …");
  expect(texts).toContain("Packer is not installed on this runner");
  expect(texts).toContain("The AWS credentials have expired");
  expect(texts.length).toBeGreaterThan(50);
});

test("the page has every message", () => {
  const missing = messages.filter(({ pieces }) =>
    tellingPieces(pieces).some((piece) => !page.includes(piece)),
  );
  expect(missing.map(({ where, pieces }) => `${where}: ${pieces.join("…")}`)).toEqual([]);
});
