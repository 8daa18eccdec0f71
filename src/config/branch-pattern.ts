/**
 * One pattern of `branches`, as GitHub reads it in a workflow's `on.push.branches`:
 * docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet (2026-11-28).
 *
 * It becomes a row of states that is walked through once per character, so the time grows with the pattern's length
 * times the branch's, whatever the pattern is. A regular expression could take exponential time on `a?a?a?…`.
 */
export interface BranchPattern {
  /** Starts with `!`: takes away the branches that it matches. */
  readonly negated: boolean;
  readonly states: readonly State[];
}

interface State {
  /** Whether the character leads to the next state. */
  readonly takes: (character: string) => boolean;
  /** Stays in this state after a character instead. */
  readonly repeats: boolean;
  /** How many states further it goes without any character. */
  readonly skips: readonly number[];
}

/** Characters; the longest name of a branch on GitHub has 244. */
const MAX_LENGTH = 500;

/** A double star with a slash is special only at the start of a segment; elsewhere its slash is required. */
const TOKEN =
  /(?<folders>(?<![^/])\*\*\/)|(?<anything>\*\*)|(?<withinSegment>\*)|(?<quantifier>[?+])|\\(?<escaped>[*?+[\]!\\])|\[(?<listed>[^\]]*)\]|(?<literal>[^\\[])/suy;

const LISTED = /^(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|[A-Za-z0-9])+$/;

/** What no branch's name contains (git-check-ref-format), and people write who mean a regular expression. */
const NEVER = /[\s~^:\p{Cc}]/u;

/**
 * Reads a pattern.
 * @returns the pattern, or a text that completes "the pattern …" and says what is wrong with it
 */
export function readBranchPattern(text: string): BranchPattern | string {
  if (text.length > MAX_LENGTH) return `must be at most ${MAX_LENGTH} characters`;
  const negated = text.startsWith("!");
  const pattern = negated ? text.slice(1) : text;
  if (pattern === "") return negated ? "must have something after the !" : "must not be empty";
  const states: State[] = [];
  /** Where the states of the last character or list begin: what a quantifier counts. */
  let counted: number | undefined;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < pattern.length) {
    const at = TOKEN.lastIndex;
    const token = TOKEN.exec(pattern)?.groups;
    if (token === undefined) return unreadable(pattern.slice(at));
    const { quantifier, listed } = token;
    const character = token["escaped"] ?? token["literal"];
    if (quantifier !== undefined) {
      if (counted === undefined)
        return `must have a character or [] right before "${quantifier}", which counts it; the character itself is written \\${quantifier}`;
      states.push(...quantified(states.splice(counted), quantifier));
      counted = undefined;
      continue;
    }
    const [added, problem] =
      listed !== undefined ? oneOf(listed) : character !== undefined ? exactly(character) : wildcard(token);
    if (problem !== undefined) return problem;
    counted = listed !== undefined || character !== undefined ? states.length : undefined;
    states.push(...added);
  }
  return { negated, states };
}

/** Whether the pattern, without its `!`, matches all of a branch's name. */
export function matchesPattern({ states }: BranchPattern, branch: string): boolean {
  let reached = withSkipped(new Set([0]), states);
  for (const character of branch) {
    const next = new Set<number>();
    for (const at of reached) {
      const state = states[at];
      if (state?.takes(character) === true) next.add(state.repeats ? at : at + 1);
    }
    reached = withSkipped(next, states);
  }
  return reached.has(states.length);
}

/** Adds the states that are reached without a character; a set's loop comes to what is added during it. */
function withSkipped(reached: Set<number>, states: readonly State[]): Set<number> {
  for (const at of reached) for (const further of states[at]?.skips ?? []) reached.add(at + further);
  return reached;
}

type Read = readonly [states: readonly State[], problem?: string];

const any = (): boolean => true;
const anyButSlash = (character: string): boolean => character !== "/";

function wildcard(token: Readonly<Record<string, string | undefined>>): Read {
  if (token["withinSegment"] !== undefined) return [[{ takes: anyButSlash, repeats: true, skips: [1] }]];
  const anything: State = { takes: any, repeats: true, skips: [1] };
  if (token["anything"] !== undefined) return [[anything]];
  // Any folders, each with its slash, or none at all: the pattern of a file anywhere matches it in the top folder too.
  return [[{ takes: () => false, repeats: false, skips: [1, 3] }, anything, one((it) => it === "/")]];
}

const one = (takes: State["takes"]): State => ({ takes, repeats: false, skips: [] });

function exactly(character: string): Read {
  if (!NEVER.test(character)) return [[one((it) => it === character)]];
  const shown = /\p{Cc}/u.test(character) ? "a control character" : `"${character}"`;
  return [[], `must not have ${shown}: no branch has it in its name, and a pattern is no regular expression`];
}

function oneOf(listed: string): Read {
  if (!LISTED.test(listed))
    return [
      [],
      `must have only letters, digits and ranges such as a-z, A-Z and 0-9 in [], not "[${listed}]"; write a pattern for each alternative`,
    ];
  const ranges = [...listed.matchAll(/(.)(?:-(.))?/g)].map(([, from = "", to = from]) => [from, to] as const);
  const backwards = ranges.find(([from, to]) => from > to);
  if (backwards !== undefined)
    return [[], `must have ranges in ascending order in [], not "${backwards.join("-")}"`];
  return [[one((it) => it.length === 1 && ranges.some(([from, to]) => from <= it && it <= to))]];
}

/** `?`: none or one of it; `+`: one or more. */
function quantified(states: readonly State[], quantifier: string): State[] {
  return states.flatMap((state) =>
    quantifier === "?" ? [{ ...state, skips: [1] }] : [state, { ...state, repeats: true, skips: [1] }],
  );
}

function unreadable(rest: string): string {
  return rest.startsWith("[")
    ? "must close its [ with ]"
    : 'must have one of * ? + [ ] ! \\ after "\\", which is for these only';
}
