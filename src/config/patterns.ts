/**
 * What is wrong with a glob: a library makes a regular expression of it, whose time can grow with a power of its wildcards.
 * Within these limits the worst pattern takes a fraction of a second for the longest path; parentheses would be parts of
 * the expression itself.
 * @returns what completes "the pattern …"; undefined: nothing
 */
export function patternProblem(pattern: string): string | undefined {
  if (pattern.length > MAX_LENGTH) return `must be at most ${MAX_LENGTH} characters`;
  const plain = pattern.replace(/\\./g, "");
  if (/[()]/.test(plain)) return "must not have parentheses; write a pattern for each alternative, or {a,b}";
  if (/[\]}]\+/.test(plain)) return "must not repeat a group with +";
  const parts = plain.split("/");
  const anyFolder = parts.filter((part) => part === "**").length;
  const stars = parts.map((part) => (part === "**" ? 0 : (part.match(/\*+/g)?.length ?? 0)));
  const braces = plain.match(/\{/g)?.length ?? 0;
  if (anyFolder > MAX_FOLDERS) return `must have at most ${MAX_FOLDERS} times **`;
  if (stars.some((count) => count > MAX_STARS))
    return `must have at most ${MAX_STARS} times * between slashes`;
  if (stars.reduce((all, count) => all + count, 0) > 2 * MAX_STARS)
    return `must have at most ${2 * MAX_STARS} times * in all`;
  return braces > MAX_BRACES ? `must have at most ${MAX_BRACES} times {}` : undefined;
}

const MAX_LENGTH = 500;
const MAX_FOLDERS = 3;
const MAX_STARS = 3;
const MAX_BRACES = 3;
