import { KilnError } from "../domain/errors.ts";

/** Pages of one list that are read; at hundreds of entries a page this is more than an account may have of anything. */
const MAX_PAGES = 1000;

/**
 * Asks for the pages of a list, one after the other, for as long as an answer names a next one.
 * @param what the request, for messages
 * @throws KilnError where the list has no end: the same page comes again, or far too many do
 */
export async function* pagesOf<T extends { readonly NextToken?: string | undefined }>(
  what: string,
  ask: (next: { readonly NextToken?: string }) => Promise<T>,
): AsyncGenerator<T, void> {
  const seen = new Set<string>();
  let next: string | undefined;
  for (let count = 0; count < MAX_PAGES; count += 1) {
    const page = await ask(next === undefined ? {} : { NextToken: next });
    yield page;
    // An empty one means "no more" too (EC2 API reference, Pagination).
    next = page.NextToken === "" ? undefined : page.NextToken;
    if (next === undefined) return;
    if (seen.has(next)) break;
    seen.add(next);
  }
  throw new KilnError(`AWS's answer to ${what} has no end`, {
    state: `After ${seen.size} pages it named another one, or the same again.`,
    next: "Run the job again. If it stays so, ask AWS Support.",
  });
}
