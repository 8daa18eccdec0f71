import picomatch from "picomatch";
import type { Place } from "./requests.ts";

/** A rule of an active ruleset that is against a tag. */
export interface TagRule {
  readonly ruleset: string;
  /** What the rule restricts, in GitHub's word: `creation`, `tag_name_pattern`. */
  readonly rule: string;
}

/** A repository seldom has more than one or two; the others are left to GitHub's own refusal. */
const MOST_RULESETS = 10;

/** Rules that can keep a new tag from being created (REST reference, "Get a repository ruleset", rules). */
const AGAINST_NEW_TAGS: ReadonlySet<string> = new Set([
  "creation",
  "tag_name_pattern",
  "required_signatures",
  "commit_message_pattern",
  "commit_author_email_pattern",
  "committer_email_pattern",
]);

/**
 * The rules of active rulesets that can keep this token from creating a tag: one request, and one more for each ruleset
 * for tags. GitHub has "Get rules for a branch" and nothing like it for tags, so the patterns are matched here. Whether a
 * name or commit fits a rule's own pattern is not decided: the rule is returned.
 * @param tag without `refs/tags/`
 */
export async function rulesAgainst(
  { octokit, owner, repo }: Place,
  tag: string,
): Promise<readonly TagRule[]> {
  const { repos } = octokit.rest;
  const { data } = await repos.getRepoRulesets({ owner, repo, targets: "tag", per_page: MOST_RULESETS });
  const active = data.filter(({ target, enforcement }) => target === "tag" && enforcement === "active");
  const found = await Promise.all(
    active.map(async ({ id }) => (await repos.getRepoRuleset({ owner, repo, ruleset_id: id })).data),
  );
  return found.flatMap(({ name, conditions, rules = [], current_user_can_bypass: bypass }) =>
    bypass === "always" || bypass === "exempt" || !appliesTo(conditions, `refs/tags/${tag}`)
      ? []
      : rules.flatMap(({ type }) => (AGAINST_NEW_TAGS.has(type) ? [{ ruleset: name, rule: type }] : [])),
  );
}

interface Conditions {
  readonly ref_name?: { readonly include?: readonly string[]; readonly exclude?: readonly string[] };
}

function appliesTo(conditions: Conditions | null | undefined, ref: string): boolean {
  const { include = [], exclude = [] } = conditions?.ref_name ?? {};
  const matches = (pattern: string): boolean => pattern === "~ALL" || isMatch(pattern, ref);
  return include.some(matches) && !exclude.some(matches);
}

/** Patterns over this length are not matched: the time of a match can grow with a power of its wildcards. */
const MAX_PATTERN = 200;
const MAX_STARS = 8;

/**
 * Ruleset patterns are those of fnmatch with FNM_PATHNAME ("Creating rulesets"): `*` stays within a segment. A pattern
 * that is not matched counts as matching: the warning that it leads to changes nothing.
 */
function isMatch(pattern: string, ref: string): boolean {
  if (pattern.length > MAX_PATTERN || pattern.split("*").length > MAX_STARS) return true;
  try {
    return picomatch.isMatch(ref, pattern, { dot: true, nobrace: true, noextglob: true, nonegate: true });
  } catch {
    return true;
  }
}
