import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { matchesPattern, readBranchPattern } from "../../src/config/branch-pattern.ts";
import { matchesBranch } from "../../src/config/branches.ts";

/**
 * The tables of docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet
 * (2026-11-28), whole. The page gives no counterexamples but two: the others are what its descriptions exclude.
 */
describe("GitHub's cheat sheet: the special characters", () => {
  test.each<[pattern: string, matches: string[], others: string[]]>([
    ["Octo*", ["Octocat", "Octo"], ["Octo/cat", "octocat", "anOctocat"]],
    ["**", ["a", "a/b/c", ".a"], []],
    ["Octoc?t", ["Octot", "Octoct"], ["Octocat", "Octocct"]],
    ["Octoc+t", ["Octoct", "Octocccct"], ["Octot", "Octocat"]],
    ["[CB]at", ["Cat", "Bat"], ["at", "Dat", "CBat", "cat"]],
    ["[1-2]00", ["100", "200"], ["300", "1-200", "-00"]],
    ["[0-9a-z]", ["0", "9", "a", "z"], ["A", "-", "", "0a"]],
    ["[A-Z]", ["A", "Z"], ["a", "["]],
    ["a!", ["a!"], ["a"]],
  ])("%s", (pattern, matches, others) => {
    for (const branch of matches) expect(matchesBranch([pattern], branch), branch).toBe(true);
    for (const branch of others) expect(matchesBranch([pattern], branch), branch).toBe(false);
  });
});

describe("GitHub's cheat sheet: branches and tags", () => {
  test.each<[pattern: string, matches: string[], others: string[]]>([
    ["feature/*", ["feature/my-branch", "feature/your-branch"], ["feature/a/b", "feature", "my-feature/a"]],
    [
      "feature/**",
      ["feature/beta-a/my-branch", "feature/your-branch", "feature/mona/the/octocat"],
      ["feature", "my-feature/a"],
    ],
    ["main", ["main"], ["main2", "amain", "main/x", "x/main", "Main"]],
    ["releases/mona-the-octocat", ["releases/mona-the-octocat"], ["releases/mona"]],
    ["*", ["main", "releases"], ["all/the/branches"]],
    ["**", ["all/the/branches", "every/tag"], []],
    ["*feature", ["mona-feature", "feature", "ver-10-feature"], ["a/feature", "features"]],
    ["v2*", ["v2", "v2.0", "v2.9"], ["v1", "v2/0", "av2"]],
    ["v[12].[0-9]+.[0-9]+", ["v1.10.1", "v2.0.0"], ["v3.0.0", "v1.10", "v1..1", "v1x10x1", "v12.0.0"]],
  ])("%s", (pattern, matches, others) => {
    for (const branch of matches) expect(matchesBranch([pattern], branch), branch).toBe(true);
    for (const branch of others) expect(matchesBranch([pattern], branch), branch).toBe(false);
  });
});

describe("GitHub's cheat sheet: file paths, which read the same patterns", () => {
  test.each<[patterns: string[], matches: string[], others: string[]]>([
    [["*"], ["README.md", "server.rb"], ["docs/README.md"]],
    [["*.jsx?"], ["page.js", "page.jsx"], ["page.jsxx", "page.jsy", "a/page.js"]],
    [["**"], ["all/the/files.md"], []],
    [["*.js"], ["app.js", "index.js"], ["js/index.js", "appxjs"]],
    [["**.js"], ["index.js", "js/index.js", "src/js/app.js"], ["index.jsx"]],
    [["docs/*"], ["docs/README.md", "docs/file.txt"], ["docs/mona/octocat.txt"]],
    [["docs/**"], ["docs/README.md", "docs/mona/octocat.txt"], ["doc/README.md"]],
    [
      ["docs/**/*.md"],
      ["docs/README.md", "docs/mona/hello-world.md", "docs/a/markdown/file.md"],
      ["docs/a.txt", "docsREADME.md", "docs.md"],
    ],
    [
      ["**/docs/**"],
      ["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"],
      ["mydocs/hello.md", "docs"],
    ],
    [["**/README.md"], ["README.md", "js/README.md"], ["xREADME.md", "README.md/x"]],
    [["**/*src/**"], ["a/src/app.js", "my-src/code/js/app.js"], ["src"]],
    [["**/*-post.md"], ["my-post.md", "path/their-post.md"], ["post.md"]],
    [
      ["**/migrate-*.sql"],
      ["migrate-10909.sql", "db/migrate-v1.0.sql", "db/sept/migrate-v1.sql"],
      ["migrate.sql", "db/xmigrate-1.sql"],
    ],
    [["*.md", "!README.md"], ["hello.md"], ["README.md", "docs/hello.md"]],
    [["*.md", "!README.md", "README*"], ["hello.md", "README.md", "README.doc"], ["docs/hello.md"]],
  ])("%j", (patterns, matches, others) => {
    for (const path of matches) expect(matchesBranch(patterns, path), path).toBe(true);
    for (const path of others) expect(matchesBranch(patterns, path), path).toBe(false);
  });
});

describe("what follows from the cheat sheet", () => {
  test.each<[patterns: string[], branch: string, matches: boolean]>([
    [["release**"], "release/1.0", true],
    [["release**"], "release", true],
    [["releases/**", "!releases/**-alpha"], "releases/10", true],
    [["releases/**", "!releases/**-alpha"], "releases/beta/mona", true],
    [["releases/**", "!releases/**-alpha"], "releases/10-alpha", false],
    [["releases/**", "!releases/**-alpha"], "releases/beta/3-alpha", false],
    [["!main", "**"], "main", true],
    [["**", "!main"], "main", false],
    // A slash is optional only after a whole segment of stars.
    [["release**/x"], "releasex", false],
    [["release**/x"], "release/a/x", true],
    [["a/**/b"], "a/b", true],
    [["a/**/b"], "ab", false],
    [["a/**/**/b"], "a/b", true],
    [["***"], "a/b", true],
    [["a***/b"], "a/x/b", true],
    // Escapes: what is special stands for itself.
    [["c\\+\\+"], "c++", true],
    [["c\\+\\+"], "cc", false],
    [["a\\*"], "a*", true],
    [["a\\*"], "ab", false],
    [["a\\??"], "a?", true],
    [["a\\??"], "a", true],
    [["\\!urgent"], "!urgent", true],
    [["\\[x\\]"], "[x]", true],
    [["a]"], "a]", true],
    // Nothing of a regular expression, and nothing of other globs.
    [["v1.0"], "v1x0", false],
    [["(a|b)"], "a", false],
    [["(a|b)"], "(a|b)", true],
    [["{main,develop}"], "main", false],
    [["a$"], "a$", true],
    // A character is one, however many units it takes.
    [["🚀?x"], "x", true],
    [["🚀+"], "🚀🚀", true],
    [["**"], "", true],
    [["[a-c]?x"], "x", true],
    [["[a-c]+"], "abcabc", true],
    [["[a-c]+"], "", false],
  ])("%j and %s: %s", (patterns, branch, matches) => {
    expect(matchesBranch(patterns, branch)).toBe(matches);
  });
});

describe("a malformed pattern is told what it lacks", () => {
  test.each<[pattern: string, problem: RegExp]>([
    ["", /^must not be empty$/],
    ["!", /^must have something after the !$/],
    ["+1", /right before "\+", which counts it; the character itself is written \\\+$/],
    ["?", /right before "\?"/],
    ["!?a", /right before "\?"/],
    ["*?", /right before "\?"/],
    ["**+", /right before "\+"/],
    ["a++", /right before "\+"/],
    ["a?+", /right before "\+"/],
    ["a??", /right before "\?"/],
    ["[ab", /^must close its \[ with \]$/],
    ["[", /^must close its \[ with \]$/],
    ["[]", /not "\[\]"/],
    ["[^a]", /letters, digits and ranges/],
    ["[!a]", /letters, digits and ranges/],
    ["[a-]", /letters, digits and ranges/],
    ["[-a]", /letters, digits and ranges/],
    ["[a-Z]", /letters, digits and ranges/],
    ["[0-z]", /letters, digits and ranges/],
    ["[a/b]", /letters, digits and ranges/],
    ["[9-0]", /^must have ranges in ascending order in \[\], not "9-0"$/],
    ["\\d+", /after "\\"/],
    ["main\\", /after "\\"/],
    ["^main", /^must not have "\^": no branch has it/],
    ["my branch", /^must not have " "/],
    ["refs:main", /^must not have ":"/],
    ["a\nb", /^must not have a control character/],
    ["a".repeat(501), /^must be at most 500 characters$/],
  ])("%j", (pattern, problem) => {
    expect(readBranchPattern(pattern)).toMatch(problem);
    // Negated, it is no better.
    expect(readBranchPattern(`!${pattern.replace(/^!/, "")}`)).toMatch(/^must /);
  });
});

/** The same meaning, written as directly as it can be: all ways are tried, one after the other. */
function reference(pattern: string, branch: string, atStart = true): boolean {
  if (pattern === "") return branch === "";
  const rest = (length: number): boolean => {
    const after = pattern.slice(length);
    return reference(after, branch, pattern[length - 1] === "/");
  };
  if (atStart && pattern.startsWith("**/")) {
    if (rest(3)) return true;
    return Array.from(branch).some(
      (character, at) => character === "/" && reference(pattern.slice(3), branch.slice(at + 1)),
    );
  }
  if (pattern.startsWith("**"))
    return Array.from({ length: branch.length + 1 }, (_, at) => branch.slice(at)).some((left) =>
      reference(pattern.slice(2), left, false),
    );
  if (pattern.startsWith("*")) {
    const segment = branch.indexOf("/") === -1 ? branch.length : branch.indexOf("/");
    return Array.from({ length: segment + 1 }, (_, at) => branch.slice(at)).some((left) =>
      reference(pattern.slice(1), left, false),
    );
  }
  const atom = /^(?:\\.|\[[^\]]*\]|.)/u.exec(pattern)?.[0] ?? "";
  const after = pattern.slice(atom.length);
  const last = atom === "/";
  const fits = (character: string | undefined): boolean => {
    if (character === undefined) return false;
    if (!atom.startsWith("[")) return character === atom.at(-1);
    return new RegExp(`^${atom}$`).test(character);
  };
  if (after.startsWith("?"))
    return (
      reference(after.slice(1), branch, false) ||
      (fits(branch[0]) && reference(after.slice(1), branch.slice(1), false))
    );
  if (after.startsWith("+"))
    return Array.from({ length: branch.length }, (_, at) => at + 1).some(
      (count) =>
        Array.from(branch.slice(0, count)).every(fits) &&
        reference(after.slice(1), branch.slice(count), false),
    );
  return fits(branch[0]) && reference(after, branch.slice(1), last);
}

const piece = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("a", "b", "/", "-", ".") },
  { weight: 3, arbitrary: fc.constantFrom("*", "**", "**/", "/**/") },
  { weight: 2, arbitrary: fc.constantFrom("a?", "b+", "[ab]", "[a-c]+", "[ab]?", "/?", "/+") },
  { weight: 1, arbitrary: fc.constantFrom("\\*", "\\+", "\\?", "\\!", "!", "]") },
);
const patterns = fc.array(piece, { minLength: 1, maxLength: 7 }).map((pieces) => pieces.join(""));
const branches = fc
  .array(fc.constantFrom("a", "b", "c", "/", "-", ".", "*", "+", "!"), { maxLength: 9 })
  .map((characters) => characters.join(""));

test("the states match what the definition matches", () => {
  let matched = 0;
  fc.assert(
    fc.property(patterns, branches, (text, branch) => {
      fc.pre(!text.startsWith("!"));
      const pattern = readBranchPattern(text);
      fc.pre(typeof pattern !== "string");
      const expected = reference(text, branch);
      if (expected) matched += 1;
      expect(matchesPattern(pattern, branch)).toBe(expected);
    }),
    { numRuns: 20_000 },
  );
  expect(matched).toBeGreaterThan(200);
});

test("any text is read, or told with a sentence's end", () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 30, unit: "binary" }),
      fc.string({ maxLength: 30 }),
      (text, branch) => {
        const pattern = readBranchPattern(text);
        const told =
          typeof pattern === "string" ? pattern : `must ${String(matchesPattern(pattern, branch))}`;
        expect(told).toMatch(/^must /);
      },
    ),
    { numRuns: 5000 },
  );
});

test.each(["a?", "*a", "**a", "[a-z]+", "**/", "a+", "a?b?"])(
  "the steps of %s, many times over, grow with the pattern times the branch",
  (part) => {
    const text = part.repeat(Math.floor(490 / part.length));
    const pattern = readBranchPattern(`${text}X`);
    if (typeof pattern === "string") throw new Error(pattern);
    let taken = 0;
    const counting = pattern.states.map((state) => ({
      ...state,
      takes: (character: string) => {
        taken += 1;
        return state.takes(character);
      },
    }));
    const branch = "a".repeat(244);
    expect(matchesPattern({ ...pattern, states: counting }, branch)).toBe(false);
    expect(taken).toBeLessThanOrEqual(counting.length * branch.length);
    expect(taken).toBeGreaterThan(0);
  },
);
