import { setTimeout as sleep } from "node:timers/promises";
import { KilnError } from "../../src/domain/errors.ts";
import type { GroupKey } from "../../sandbox/aws/autoscaling/world.ts";
import type { FaultEffect, FaultMatch } from "../../sandbox/faults.ts";
import type { LoggedRequest } from "../../sandbox/request-log.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { Released, ReleaseStage } from "./release-stage.ts";

/** Fails each request of a command in turn, in each way that AWS and GitHub fail, and looks what becomes of it. */

/** Where a second target is. */
export const AWAY = { ...HOME, region: "us-east-1" };

/** A command, and where it begins. */
export interface Story {
  readonly name: string;
  readonly open: () => Promise<ReleaseStage>;
  readonly run: (stage: ReleaseStage) => Promise<Released>;
  /** Its groups; each one's template has its name. */
  readonly groups: readonly GroupKey[];
  /** What must be in the end, however the run went; compared with an undisturbed run's. */
  readonly end: (stage: ReleaseStage) => unknown;
}

interface Way {
  readonly name: string;
  /** Which requests it can happen to. */
  readonly match: FaultMatch;
  readonly effect: (stage: ReleaseStage) => FaultEffect;
  /** How many requests in a row; default 1. */
  readonly times?: number;
}

/** Real milliseconds after which a try counts as not answered, where one is not; and when a late answer comes. */
const ANSWER_WITHIN = 1000;
const LATE = 1500;
/** What only a time-out ends. */
const SILENT: ReadonlySet<FaultEffect["kind"]> = new Set(["silence-before", "silence-after", "delay"]);

const AWS = { action: /^\w+$/ };
/**
 * A refresh that AWS starts a second later than asked comes on virtual time after the whole rollout, which no request's delay
 * is. It would find nothing to replace: matching instances are skipped.
 */
const NOT_THE_START = { action: /^(?!StartInstanceRefresh$)\w+$/ };
const GITHUB = { action: / \// };
const reply = (status: number, code: string, message = "later"): FaultEffect => ({
  kind: "reply",
  status,
  code,
  message,
});
const secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
const limited = (status: number, headers: Readonly<Record<string, string>>, message = secondary) =>
  ({ kind: "reply", status, code: "", message, headers }) as const;
/** `x-ratelimit-reset`, so many seconds from now. */
const reset = (stage: ReleaseStage, seconds: number): Readonly<Record<string, string>> => ({
  "x-ratelimit-remaining": "0",
  "x-ratelimit-reset": String(Math.ceil(stage.time.now().getTime() / 1000) + seconds),
});
const primary = "API rate limit exceeded for installation ID 1.";

/** What can happen to the requests of either. */
function connection(side: string, match: FaultMatch): Way[] {
  const effects: readonly (readonly [string, FaultEffect])[] = [
    ["the connection is reset before", { kind: "drop-before" }],
    ["the connection is reset after", { kind: "drop-after" }],
    ["the answer breaks off", { kind: "cut" }],
    ["no answer, not done", { kind: "silence-before" }],
    ["no answer, done", { kind: "silence-after" }],
    ["done late, and answered too late", { kind: "delay", milliseconds: LATE }],
  ];
  return effects.map(([name, effect]) => ({
    name: `${side}: ${name}`,
    match: effect.kind === "delay" && match === AWS ? NOT_THE_START : match,
    effect: () => effect,
  }));
}

export const WAYS: readonly Way[] = [
  { name: "AWS: Throttling", match: AWS, effect: () => reply(400, "Throttling", "Rate exceeded") },
  { name: "AWS: Throttling, six times", match: AWS, effect: () => reply(400, "Throttling"), times: 6 },
  { name: "AWS: RequestLimitExceeded", match: AWS, effect: () => reply(503, "RequestLimitExceeded") },
  { name: "AWS: InternalError (500)", match: AWS, effect: () => reply(500, "InternalError") },
  { name: "AWS: ServiceUnavailable (503)", match: AWS, effect: () => reply(503, "ServiceUnavailable") },
  {
    name: "AWS: a 502 after it was done",
    match: AWS,
    effect: () => ({ kind: "reply-after-effect", status: 502, code: "BadGateway", message: "lost" }),
  },
  {
    name: "AWS: AccessDenied, nine times",
    match: AWS,
    effect: () => reply(403, "AccessDenied", "no"),
    times: 9,
  },
  ...connection("AWS", AWS),
  {
    name: "AWS: what was just made is not seen",
    match: { action: /^Describe/, after: /^(?:Create|Start|Copy|Update)/ },
    effect: () => ({ kind: "unseen" }),
    times: 2,
  },
  {
    name: "AWS: the id that was just made is not found",
    // A copy, by its id. A template's versions are looked for by a filter, which finds nothing instead.
    match: { action: "DescribeImages", after: "CopyImage" },
    effect: () => reply(400, "InvalidAMIID.NotFound", "The image id does not exist"),
    times: 2,
  },
  {
    name: "AWS: what was just made is not found by a change of it",
    match: { action: /^(?:CreateTags|CopyImage|Modify(?:Image|Snapshot)Attribute)$/ },
    effect: () => reply(400, "InvalidAMIID.NotFound", "The image id does not exist"),
    times: 2,
  },
  {
    name: "AWS: the version that was just made is not found",
    match: { action: "StartInstanceRefresh" },
    effect: () =>
      reply(
        400,
        "ValidationError",
        "You must use a valid fully-formed launch template. The specified launch template, with template ID lt-1, version 2, does not exist.",
      ),
    times: 2,
  },
  { name: "GitHub: 500", match: GITHUB, effect: () => reply(500, "", "Server Error") },
  { name: "GitHub: 502, five times", match: GITHUB, effect: () => reply(502, "", "Bad Gateway"), times: 5 },
  {
    name: "GitHub: a 502 after it was done",
    match: GITHUB,
    effect: () => ({ kind: "reply-after-effect", status: 502, code: "", message: "lost" }),
  },
  {
    name: "GitHub: 409 after it was done",
    match: GITHUB,
    effect: () => ({ kind: "reply-after-effect", status: 409, code: "", message: "Conflict" }),
  },
  {
    name: "GitHub: 422 after it was done",
    match: GITHUB,
    effect: () => ({ kind: "reply-after-effect", status: 422, code: "", message: "Validation Failed" }),
  },
  {
    name: "GitHub: secondary rate limit (403)",
    match: GITHUB,
    effect: () => limited(403, { "retry-after": "60" }),
  },
  {
    name: "GitHub: secondary rate limit (429)",
    match: GITHUB,
    effect: () => limited(429, { "retry-after": "60" }),
  },
  {
    name: "GitHub: secondary rate limit, not saying how long",
    match: GITHUB,
    effect: () => limited(403, {}),
  },
  {
    name: "GitHub: rate limit, reset in two minutes",
    match: GITHUB,
    effect: (stage) => limited(403, reset(stage, 120), primary),
  },
  {
    name: "GitHub: rate limit, reset in 50 minutes",
    match: GITHUB,
    effect: (stage) => limited(403, reset(stage, 3000), primary),
  },
  {
    name: "GitHub: refused (403), nine times",
    match: GITHUB,
    effect: () => ({
      kind: "reply",
      status: 403,
      code: "",
      message: "Resource not accessible by integration",
      headers: { "x-accepted-github-permissions": "contents=write" },
    }),
    times: 9,
  },
  ...connection("GitHub", GITHUB),
  {
    name: "GitHub: what was just made is not seen",
    // The lock was made minutes ago when it is read again.
    match: { action: /^(?:GET(?! .*kiln\/lock)|POST \/graphql)/, after: /^(?:POST|PATCH) .*\/git\// },
    effect: () => ({ kind: "unseen" }),
    times: 2,
  },
  {
    name: "GitHub: the object that was just made is not found",
    match: { action: /^(?:POST|PATCH) .*\/git\/refs/ },
    effect: () => reply(422, "", "Object does not exist"),
    times: 2,
  },
];

/** How many requests of a log a way can happen to. */
function chances({ match }: Way, log: readonly LoggedRequest[]): number {
  const is = (wanted: FaultMatch["action"], { action }: LoggedRequest): boolean =>
    wanted instanceof RegExp ? wanted.test(action) : wanted === action;
  const first = match.after === undefined ? -1 : log.findIndex((request) => is(match.after, request));
  if (match.after !== undefined && first === -1) return 0;
  return log.filter((request, index) => index > first && is(match.action, request)).length;
}

export interface Tally {
  readonly way: string;
  readonly tried: number;
  readonly wentOn: number;
  readonly converged: number;
  readonly wrong: readonly string[];
}

/** An undisturbed run: its requests, and what must be in the end. */
export async function undisturbed(
  story: Story,
): Promise<{ readonly log: readonly LoggedRequest[]; readonly end: string }> {
  await using stage = await story.open();
  const mark = stage.sandbox.log.entries.length;
  const { error } = await story.run(stage);
  if (error !== undefined) throw new Error(told(error));
  return { log: stage.sandbox.log.since(mark), end: end(story, stage) };
}

/** Tries the ways only whose name has this, to repeat what failed. */
const ONLY = process.env["KILN_WAY"] ?? "";

/** All pairs of a way and a request, counted through; of which one in `every` is tried. */
export async function failEach(story: Story, every: number): Promise<Tally[]> {
  const whole = await undisturbed(story);
  const tallies: Tally[] = [];
  let counted = 0;
  for (const way of WAYS.filter(({ name }) => name.includes(ONLY))) {
    let [tried, wentOn] = [0, 0];
    const wrong: string[] = [];
    const count = chances(way, whole.log);
    for (let index = 0; index < count; index += 1, counted += 1) {
      if (counted % every !== 0) continue;
      tried += 1;
      const found = await failOne(story, way, index, whole.end).catch((error: unknown) => ({
        wentOn: false,
        wrong: [told(error)],
      }));
      if (found.wentOn) wentOn += 1;
      wrong.push(...found.wrong.map((what) => `${way.name}, request ${index}: ${what}`));
    }
    tallies.push({ way: way.name, tried, wentOn, converged: tried - wrong.length, wrong });
  }
  return tallies;
}

const end = (story: Story, stage: ReleaseStage): string => JSON.stringify(story.end(stage));

async function failOne(
  story: Story,
  way: Way,
  index: number,
  wanted: string,
): Promise<{ readonly wentOn: boolean; readonly wrong: readonly string[] }> {
  await using stage = await story.open();
  const mark = stage.sandbox.log.entries.length;
  const before = changesOf(stage, story);
  const effect = way.effect(stage);
  if (SILENT.has(effect.kind)) stage.answerWithin = ANSWER_WITHIN;
  stage.sandbox.faults.inject(way.match, effect, { skip: index, times: way.times ?? 1 });
  const first = await story.run(stage);
  stage.sandbox.faults.clear();
  stage.answerWithin = undefined;
  if (effect.kind === "delay") await sleep(LATE);
  const lie = lieOf(first.error, before, changesOf(stage, story));
  // The refresh that was begun goes on in AWS meanwhile.
  await stage.finishRun();
  const last = first.error === undefined ? first : await story.run(stage);
  // Of what is carried out late a lock may be left; the run has ended, so that any other takes it over.
  if (effect.kind === "delay" && end(story, stage) !== wanted) await stage.takeOverLocks();
  const ended = end(story, stage);
  const log = stage.sandbox.log
    .since(mark)
    .map(({ action, error }) => `${action}${error ? ` ${error}` : ""}`);
  const wrong = [
    ...(lie === undefined ? [] : [lie]),
    ...(last.error === undefined ? [] : [`the next run failed: ${told(last.error)}`]),
    ...(ended === wanted ? [] : [`ended as ${ended}, not as ${wanted}`]),
  ];
  return {
    wentOn: first.error === undefined,
    wrong:
      wrong.length === 0 ? [] : [`${wrong.join("; ")}\n  first: ${told(first.error)}\n  ${log.join("\n  ")}`],
  };
}

/** What a run changes for good. */
function changesOf(
  stage: ReleaseStage,
  { groups }: Story,
): { readonly aws: number; readonly records: number } {
  const { ec2, autoScaling } = stage.sandbox;
  const versions = [HOME, AWAY]
    .flatMap((place) => ec2.launchTemplates(place))
    .flatMap(({ id }) => ec2.launchTemplateVersions(id));
  const refreshes = groups.flatMap((group) => autoScaling.refreshes(group));
  return { aws: versions.length + refreshes.length, records: stage.records().length };
}

/** An error is for the person on call, and says the truth about what was changed. */
function lieOf(
  error: unknown,
  before: ReturnType<typeof changesOf>,
  after: ReturnType<typeof changesOf>,
): string | undefined {
  if (error === undefined) return undefined;
  if (!(error instanceof KilnError)) return `not an error for the person on call: ${told(error)}`;
  const said = error.state ?? "";
  if (/Nothing was changed/.test(said) && after.aws > before.aws) return `it says: ${said}`;
  if (/Nothing was recorded/.test(said) && after.records > before.records) return `it says: ${said}`;
  return undefined;
}

function told(error: unknown): string {
  if (error instanceof KilnError) return [error.message, error.state, error.next].filter(Boolean).join(" | ");
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The counts in one line; in the long form a line for each way, too. */
export function printed({ name }: Story, tallies: readonly Tally[], inFull: boolean): string {
  const sum = (of: "tried" | "wentOn" | "converged"): number =>
    tallies.reduce((total, tally) => total + tally[of], 0);
  const lines = tallies.map(
    ({ way, tried, wentOn, converged }) =>
      `  ${way}: ${tried} tried, ${wentOn} went on, ${converged} converged\n`,
  );
  return `${name}: ${sum("tried")} requests failed, ${sum("wentOn")} runs went on, ${sum("converged")} converged\n${inFull ? lines.join("") : ""}`;
}
