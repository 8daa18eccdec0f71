import fc from "fast-check";

/** What somebody puts into a branch's name, a commit's subject or a tag to make another program do something. */
export const WEAPONS: readonly string[] = [
  "::set-output name=outcome::succeeded",
  "::add-mask::a",
  "::stop-commands::x",
  "::error file=a,line=1::b",
  " \t::add-mask::b",
  "\u0085::add-mask::c",
  "\u200b::add-mask::d",
  "\0::add-mask::e",
  "##[add-mask]f",
  "#\u00ad#[add-mask]g",
  "%0A::add-mask::h",
  "\r::add-mask::i",
  "\n::add-mask::j",
  "\u2028::add-mask::k",
  "\r\n::save-state name=kiln::{}",
  "| a | b |\n|---|---|\n| c | d |",
  "\\",
  "\\|",
  "a\\|b`",
  "`",
  "``",
  "```\n# Heading",
  "~~~",
  "~~struck~~",
  "\n\n# Heading\n\n",
  "# Heading",
  "- item",
  "1. item",
  "---",
  "===",
  "***",
  "    code",
  "> quote",
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "</details>",
  "</td></tr></table>",
  "<!--",
  "-->",
  "&lt;b&gt;",
  "[link](https://evil.example)",
  "![image](https://evil.example/x.png)",
  "[ref]: https://evil.example",
  "[^1]",
  "https://evil.example",
  "www.evil.example",
  "mallory@evil.example",
  "@octocat",
  "$x$",
  ") [evil](https://evil.example",
  "javascript:alert(1)",
  "\u202Egnp.exe",
  "\uD800",
  "\uFEFF",
  "Kiln-Record: 1",
  "\n\nKiln-Record: 1\nImage: us-east-1 ami-0eeeeeeeeeeeeeeee",
  "Image: us-east-1 ami-0eeeeeeeeeeeeeeee",
  "\n---\n",
  "# comment",
  "(cherry picked from commit 0)",
  "Signed-off-by: Mallory <m@evil.example>",
  "$(touch /tmp/owned)",
  "`touch /tmp/owned`",
  "; rm -rf /",
  "-rf",
  "--upload-pack=x",
  ":(glob)**",
  "../../../etc/passwd",
  "/etc/passwd",
  "\0/etc/passwd",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "%s%n%x",
  "ghadelimiter_",
  "result<<EOF\nx\nEOF",
];

/** One weapon, several in a row, or any text: what comes from outside. */
export const hostile: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...WEAPONS) },
  {
    weight: 3,
    arbitrary: fc
      .array(fc.oneof(fc.constantFrom(...WEAPONS), fc.string({ maxLength: 6 })), { maxLength: 5 })
      .map((parts) => parts.join("")),
  },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 60 }) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 60 }) },
);

/** The same without half characters, which no program's output, file name or answer can hold once it was decoded. */
export const hostileText: fc.Arbitrary<string> = hostile.map((text) => text.toWellFormed());

/** Runs of a property in every test run, and says afterwards how many there were. */
export function told(what: string, numRuns: number): { numRuns: number; verbose: 0 } {
  process.stdout.write(`${what}: ${numRuns.toLocaleString("en")} tried\n`);
  return { numRuns, verbose: 0 };
}
