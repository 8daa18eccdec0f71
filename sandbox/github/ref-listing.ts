import { GraphQLError } from "graphql";
import type { GitRef } from "./git.ts";
import { gitText, listRefs, objectType } from "./git.ts";

/** The arguments of `Repository.refs`. */
export interface RefsArguments {
  readonly refPrefix: string;
  readonly first?: number | null;
  readonly last?: number | null;
  readonly after?: string | null;
  readonly before?: string | null;
  readonly query?: string | null;
  readonly orderBy?: {
    readonly field: "ALPHABETICAL" | "TAG_COMMIT_DATE";
    readonly direction: "ASC" | "DESC";
  } | null;
}

/** A page of refs, and where it lies in the whole listing. */
export interface RefPage {
  readonly refs: readonly GitRef[];
  readonly start: number;
  readonly hasNextPage: boolean;
  /** Counts only when asked: the page itself may have been read without the rest. */
  readonly total: () => Promise<number>;
}

/** An error of GitHub's GraphQL API, which has its `type` beside the message. */
export function graphqlError(type: string, message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { type } });
}

/** GitHub's cursors are opaque; for refs they hold a position. */
export function cursor(position: number): string {
  return Buffer.from(String(position)).toString("base64");
}

function position(text: string): number {
  const number = Number(Buffer.from(text, "base64").toString());
  if (Number.isInteger(number) && number > 0) return number;
  throw graphqlError("INVALID_CURSOR_ARGUMENTS", `\`${text}\` does not appear to be a valid cursor.`);
}

/** "Rate limits and query limits for the GraphQL API": first or last on every connection, from 1 to 100. */
function checkBounds(args: RefsArguments): void {
  if (!args.refPrefix.endsWith("/")) {
    // Reported, but not with its words: a prefix is a folder of refs, ending at a slash.
    throw graphqlError("INVALID_ARGUMENT", `refPrefix "${args.refPrefix}" must end with a "/"`);
  }
  if (typeof args.first !== "number" && typeof args.last !== "number") {
    throw graphqlError(
      "MISSING_PAGINATION_BOUNDARIES",
      "You must provide a `first` or `last` value to properly paginate the `refs` connection.",
    );
  }
  for (const bound of ["first", "last"] as const) {
    const value = args[bound] ?? 0;
    if (value > 100) {
      throw graphqlError(
        "EXCESSIVE_PAGINATION",
        `Requesting ${value} records on the \`refs\` connection exceeds the \`${bound}\` limit of 100 records.`,
      );
    }
    if (value < 0) throw graphqlError("ARGUMENT_LIMIT", `\`${bound}\` on \`refs\` must not be negative`);
  }
}

/** All refs of the listing in its order; no more than `count` where git can stop early. */
async function ordered(path: string, args: RefsArguments, count: number | undefined): Promise<GitRef[]> {
  const descending = args.orderBy?.direction === "DESC";
  const byDate = args.orderBy?.field === "TAG_COMMIT_DATE";
  const query = args.query ?? "";
  const refs = byDate
    ? await byCommitDate(path, args.refPrefix, descending)
    : await listRefs(path, args.refPrefix, {
        descending,
        ...(count === undefined || query !== "" ? {} : { count }),
      });
  return query === "" ? refs : refs.filter(({ name }) => name.slice(args.refPrefix.length).includes(query));
}

/**
 * "TAG_COMMIT_DATE: order refs by underlying commit date if the ref prefix is refs/tags/": the date of the commit that
 * was tagged, not of the tag. git cannot sort by "the peeled date or else the own one", so that it is done here.
 */
async function byCommitDate(path: string, prefix: string, descending: boolean): Promise<GitRef[]> {
  const format =
    "--format=%(objectname) %(objecttype) %(refname) %(if)%(*objectname)%(then)%(*committerdate:unix)%(else)%(committerdate:unix)%(end)";
  const text = await gitText(path, ["for-each-ref", format, prefix]);
  const sign = descending ? -1 : 1;
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [oid = "", type = "", name = "", date = ""] = line.split(" ");
      return { oid, type: objectType(type), name, date: Number(date) };
    })
    .sort((one, other) => sign * (one.date - other.date || (one.name < other.name ? -1 : 1)));
}

export async function refPage(path: string, args: RefsArguments): Promise<RefPage> {
  checkBounds(args);
  const from = typeof args.after === "string" ? position(args.after) : 0;
  // One more than asked for tells whether there is a next page.
  const enough = typeof args.first === "number" ? from + args.first + 1 : undefined;
  const refs = await ordered(path, args, enough);
  const whole = enough === undefined || refs.length < enough;
  const end = typeof args.before === "string" ? position(args.before) - 1 : refs.length;
  let range = { start: from, end: Math.max(end, from) };
  if (typeof args.first === "number") range = { ...range, end: Math.min(range.end, from + args.first) };
  if (typeof args.last === "number")
    range = { ...range, start: Math.max(range.start, range.end - args.last) };
  return {
    refs: refs.slice(range.start, range.end),
    start: range.start,
    hasNextPage: range.end < refs.length,
    total: async () => (whole ? refs.length : (await ordered(path, args, undefined)).length),
  };
}
