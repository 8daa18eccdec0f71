import { AwsError } from "../query.ts";
import { integer } from "./constraints.ts";
import type { Query } from "../query.ts";

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextToken: string | undefined;
}

/** One page of a list, as `MaxRecords` and `NextToken` ask for it. */
export function pageOf<Item>(
  query: Query,
  items: readonly Item[],
  limits: { readonly usual: number; readonly most: number },
): Page<Item> {
  const size = integer(query, "MaxRecords", 1, limits.most) ?? limits.usual;
  const start = startOf(query.string("NextToken"));
  const end = start + size;
  return {
    items: items.slice(start, end),
    nextToken: end < items.length ? Buffer.from(`next:${end}`).toString("base64url") : undefined,
  };
}

function startOf(token: string | undefined): number {
  if (token === undefined) return 0;
  const offset = /^next:(\d+)$/.exec(Buffer.from(token, "base64url").toString())?.[1];
  if (offset === undefined) throw new AwsError("InvalidNextToken", "The token is invalid.");
  return Number(offset);
}
