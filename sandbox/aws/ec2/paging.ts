import { AwsError } from "../query.ts";
import type { Call } from "../query.ts";
import type { Ec2State } from "./state.ts";

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextToken: string | undefined;
}

interface Paging {
  readonly action: string;
  /** Bounds of MaxResults, where the API reference gives them. */
  readonly bounds?: readonly [least: number, most: number];
  /** The parameter that lists ids: it cannot be combined with MaxResults. */
  readonly ids?: string;
}

interface Position {
  readonly action: string;
  readonly offset: number;
  /** The empty page that comes before this one has been given. */
  readonly emptied: boolean;
}

/**
 * EC2 API reference, Query requests, Pagination: MaxResults limits a page, a page may have fewer items or none,
 * and only an absent NextToken means the end.
 */
export function page<T>(state: Ec2State, call: Call, items: readonly T[], paging: Paging): Page<T> {
  const { action } = paging;
  const limit = pageSize(call, paging);
  const position = resume(call, action);
  if (limit === undefined) return { items: items.slice(position.offset), nextToken: undefined };
  if (state.settings.emptyPages.includes(action) && !position.emptied) {
    return { items: [], nextToken: encode({ ...position, emptied: true }) };
  }
  const end = position.offset + limit;
  return {
    items: items.slice(position.offset, end),
    nextToken: end < items.length ? encode({ action, offset: end, emptied: false }) : undefined,
  };
}

function pageSize({ query }: Call, { bounds: [least, most] = [1, 1000], ids }: Paging): number | undefined {
  const limit = query.number("MaxResults");
  if (limit === undefined) return undefined;
  if (ids !== undefined && query.strings(ids).length > 0) {
    throw new AwsError(
      "InvalidParameterCombination",
      `The parameter ${ids} cannot be used with the parameter MaxResults`,
    );
  }
  if (!(limit >= least && limit <= most)) {
    throw new AwsError(
      "InvalidParameterValue",
      `Value ( ${limit} ) for parameter maxResults is invalid. Expecting a value between ${least} and ${most}.`,
    );
  }
  return limit;
}

function resume({ query }: Call, action: string): Position {
  const token = query.string("NextToken");
  if (token === undefined) return { action, offset: 0, emptied: false };
  const position = decode(token);
  if (position?.action !== action)
    throw new AwsError("InvalidNextToken", "The provided NextToken is not valid.");
  return position;
}

function encode({ action, offset, emptied }: Position): string {
  return Buffer.from(`${action}:${offset}:${emptied}`).toString("base64url");
}

function decode(token: string): Position | undefined {
  const text = Buffer.from(token, "base64url").toString();
  const [, action, offset, emptied] = /^(\w+):(\d+):(true|false)$/.exec(text) ?? [];
  if (action === undefined) return undefined;
  return { action, offset: Number(offset), emptied: emptied === "true" };
}
