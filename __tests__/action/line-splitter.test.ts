import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter } from "../../src/action/line-splitter.ts";
import { canBeHidden, linesToHide, Secrets } from "../../src/domain/secrets.ts";

function linesOf(bytes: Uint8Array, cuts: readonly number[]): string[] {
  const splitter = new LineSplitter();
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  const pieces = [0, ...places].map((start, index) => bytes.subarray(start, places[index] ?? bytes.length));
  return [...pieces.flatMap((piece) => splitter.add(piece)), ...splitter.end()];
}

const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "\n", "\r\n", "é", "🦊", "'"), maxLength: 60 });
const cuts = fc.array(fc.nat(), { maxLength: 8 });

test("lines are the same, whatever pieces they come in", () => {
  fc.assert(
    fc.property(text, cuts, (written, where) => {
      const bytes = Buffer.from(written);
      expect(linesOf(bytes, where)).toStrictEqual(linesOf(bytes, []));
      expect(linesOf(bytes, where).join("\n")).toBe(written.replaceAll("\r\n", "\n").replace(/\n$/, ""));
    }),
  );
});

test("a secret that is cut anywhere is in no line", () => {
  const secret = fc
    .string({
      unit: fc.constantFrom("a", "b", "c", "é", "🦊", "'", "\n", '"', "%"),
      minLength: 3,
      maxLength: 20,
    })
    .filter(canBeHidden);
  const encodings = [
    (value: string) => value,
    (value: string) => JSON.stringify(value).slice(1, -1),
    (value: string) => encodeURIComponent(value),
    (value: string) => Buffer.from(value).toString("base64"),
  ];
  fc.assert(
    fc.property(
      secret,
      text,
      text,
      fc.constantFrom(...encodings),
      cuts,
      (value, before, behind, encode, where) => {
        const secrets = new Secrets();
        secrets.add([value]);
        const printed = linesOf(Buffer.from(before + encode(value) + behind), where).map((line) =>
          secrets.redact(line),
        );
        for (const line of printed)
          for (const hidden of linesToHide(value)) {
            expect(line).not.toContain(hidden);
            expect(line).not.toContain(JSON.stringify(hidden).slice(1, -1));
            expect(line).not.toContain(encodeURIComponent(hidden));
          }
      },
    ),
    { numRuns: process.env["KILN_CHAOS"] === "all" ? 1000 : 200 },
  );
});

test("a line without an end is cut, and read on behind its end", () => {
  const splitter = new LineSplitter();
  const piece = Buffer.alloc(100_000, "a");
  const seen = Array.from({ length: 20 }, () => splitter.add(piece)).flat();
  expect(seen.map((line) => line.length)).toEqual([256 * 1024 + "… (cut: the line goes on)".length]);
  expect(splitter.add(Buffer.from("b\nnext\n"))).toEqual(["next"]);
  expect(splitter.end()).toEqual([]);
});
