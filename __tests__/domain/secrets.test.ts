import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canBeHidden, linesToHide, Secrets } from "../../src/domain/secrets.ts";

function redact(text: string, ...values: string[]): string {
  const secrets = new Secrets();
  secrets.add(values);
  return secrets.redact(text);
}

describe("a text without its secrets", () => {
  test.each<[text: string, secrets: string[], redacted: string]>([
    ["a hunter2 b hunter2", ["hunter2"], "a *** b ***"],
    ["abcdef abc", ["abc", "abcdef"], "*** ***"],
    ["abcdefghi", ["abcdef", "defghi"], "***"],
    ["one1\ntwo three", ["one1\ntwo"], "*** three"],
    ["only two here", ["one1\ntwo"], "only *** here"],
    ["  two", ["one1\r\n  two"], "***"],
    ["a.c abc", ["a.c"], "*** abc"],
    ["x $& y", ["$&z"], "x $& y"],
    ["ab ab", ["ab"], "ab ab"],
    ["   spaces   ", ["   "], "   spaces   "],
    ["nothing", [], "nothing"],
    ["*** ****", ["***"], "*** ****"],
    // What one mask leaves may be another secret together with it.
    ["hunter2x*", ["hunter2", "**x*"], "****"],
  ])("%j without %j is %j", (text, secrets, redacted) => {
    expect(redact(text, ...secrets)).toBe(redacted);
  });

  const secret = `it's "5<6"\\ & \${more}`;
  test.each<[how: string, written: string]>([
    ["JSON", JSON.stringify({ secret })],
    [
      "Go's JSON",
      JSON.stringify({ secret }).replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
    ],
    ["HCL", JSON.stringify(secret).replace("${", "$${")],
    ["a shell, in single quotes", `curl -d '${secret.replaceAll("'", "'\\''")}'`],
    ["a shell, in double quotes", `"${secret.replace(/["\\$`]/g, "\\$&")}"`],
    ["a URL", `https://example.org/?q=${encodeURIComponent(secret)}`],
    ["a URL, small", encodeURIComponent(secret).toLowerCase()],
    ["a form", new URLSearchParams({ secret }).toString()],
    ["XML", `<a b="${secret.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;")}"/>`],
    ["Base64", Buffer.from(secret).toString("base64")],
    ["Base64 with a line end", Buffer.from(`${secret}\n`).toString("base64")],
    ["Base64 of user and password", Buffer.from(`user:${secret}`).toString("base64")],
    ["Base64 behind two characters", Buffer.from(`u:${secret};`).toString("base64")],
    ["Base64 for URLs", Buffer.from(secret).toString("base64url")],
  ])("is hidden as %s", (_, written) => {
    const left = redact(written, secret);
    expect(left).toContain("***");
    expect(left).not.toContain("more");
    // At most what shares a character of Base64 with its neighbours.
    expect(left.replace("***", "").length).toBeLessThan(written.length - 16);
  });

  test("has no line of Base64 that is wrapped", () => {
    const key = `-----BEGIN KEY-----\n${"abcdefgh01234567".repeat(20)}\n-----END KEY-----\n`;
    for (const width of [64, 76]) {
      const lines =
        Buffer.from(key)
          .toString("base64")
          .match(new RegExp(`.{1,${width}}`, "g")) ?? [];
      for (const line of lines.slice(0, -1)) expect(redact(line, key)).toBe("***");
    }
  });

  test("keeps a name or an id in which three characters happen to be a secret's", () => {
    const secrets = new Secrets();
    secrets.add(["4711", "hunter2-and-more"]);
    expect(secrets.redactFact("sha256:ab4711")).toBe("sha256:ab4711");
    expect(secrets.redactFact("a/hunter2-and-more")).toBe("a/***");
    expect(secrets.redact("sha256:ab4711")).toBe("sha256:ab***");
  });
});

/** Whatever a secret may be made of, and what encoders trip over. */
const piece = fc.oneof(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 12 }),
  fc.constantFrom(
    '"',
    "'",
    "\\",
    "${",
    "%{",
    "<",
    "&",
    " ",
    "\t",
    "+",
    "/",
    "*",
    "=",
    "::",
    "\u2028",
    "\ud800",
  ),
);
const secretText = fc
  .array(fc.oneof({ weight: 5, arbitrary: piece }, { weight: 1, arbitrary: fc.constantFrom("\n", "\r\n") }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((pieces) => pieces.join(""))
  .filter(canBeHidden);

/** How programs write a value, each without a word of Kiln's own. */
const ENCODINGS: Readonly<Record<string, (value: string) => string>> = {
  plain: (value) => value,
  JSON: (value) => JSON.stringify(value).slice(1, -1),
  URL: (value) => encodeURIComponent(value.toWellFormed()),
  form: (value) => new URLSearchParams([["", value.toWellFormed()]]).toString().slice(1),
  // The last character may hold bits of what follows.
  Base64: (value) =>
    Buffer.from(value)
      .toString("base64")
      .slice(0, Math.floor((Buffer.byteLength(value) * 8) / 6)),
  shell: (value) => value.replaceAll("'", "'\\''"),
};

test("no secret is in any redacted text, however it was written and whatever stands around it", () => {
  let tried = 0;
  fc.assert(
    fc.property(
      fc.array(secretText, { minLength: 1, maxLength: 3 }),
      fc.array(
        fc.record({
          before: fc.string({ unit: "binary", maxLength: 6 }),
          which: fc.nat(),
          how: fc.constantFrom(...Object.keys(ENCODINGS)),
        }),
        { maxLength: 5 },
      ),
      (values, parts) => {
        const forms = values.flatMap((value) =>
          Object.values(ENCODINGS).flatMap((encode) => linesToHide(value).map(encode)),
        );
        const text = parts
          .map(({ before, which, how }) => before + ENCODINGS[how]?.(values[which % values.length] ?? ""))
          .join("");
        const left = redact(text, ...values);
        for (const form of forms.filter(canBeHidden)) expect(left).not.toContain(form);
        tried += 1;
      },
    ),
    { numRuns: process.env["KILN_CHAOS"] === "all" ? 1000 : 150 },
  );
  process.stdout.write(`Secrets in any text: ${tried} tried, ${tried} hidden\n`);
});
