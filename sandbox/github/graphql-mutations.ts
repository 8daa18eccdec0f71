import type { GitHubToken } from "./access.ts";
import { sees } from "./access.ts";
import { nodeId } from "./endpoint.ts";
import { git, NO_OBJECT, readObject } from "./git.ts";
import { graphqlError } from "./ref-listing.ts";
import type { GitHubRepository, RefUpdate } from "./repository.ts";
import { violation } from "./rulesets.ts";

/**
 * Which refs `updateRefs` takes: the reference gives `refs/heads/…` and `refs/tags/…` as examples of a GitRefname and does
 * not say whether others are refused, so that tests run it both ways.
 */
export type UpdateRefsScope = "any-ref" | "heads-and-tags";

/** GraphQL reference, UpdateRefsInput and RefUpdate. */
export interface UpdateRefsInput {
  readonly clientMutationId?: string;
  readonly repositoryId: string;
  readonly refUpdates: readonly {
    readonly name: string;
    readonly beforeOid?: string;
    readonly afterOid: string;
    readonly force?: boolean;
  }[];
}

/**
 * "Creates, updates and/or deletes multiple refs in a repository. All updates are performed atomically, meaning that if one
 * of them is rejected, no other ref will be modified" (GraphQL reference, updateRefs). The reference does not give the
 * messages of refusals: clients must not read them.
 */
export async function updateRefs(
  { clientMutationId, repositoryId, refUpdates }: UpdateRefsInput,
  {
    token,
    repositories,
    updateRefs: scope,
  }: {
    readonly token: GitHubToken;
    readonly repositories: readonly GitHubRepository[];
    readonly updateRefs: UpdateRefsScope;
  },
): Promise<object> {
  const repository = repositories.find(({ fullName }) => nodeId("R", fullName) === repositoryId);
  if (repository === undefined || !sees(token, repository)) {
    throw graphqlError("NOT_FOUND", `Could not resolve to a node with the global id of '${repositoryId}'.`);
  }
  if (token.permissions.contents !== "write") throw forbidden();
  const updates: RefUpdate[] = [];
  for (const { name, beforeOid, afterOid, force = false } of refUpdates) {
    await check(repository, token, { name, afterOid, scope });
    if (!force && !(await isForward(repository, name, afterOid))) throw refused();
    updates.push({ name, after: afterOid, ...(beforeOid === undefined ? {} : { before: beforeOid }) });
  }
  if ((await repository.updateRefs(updates)) !== "done") throw refused();
  return { clientMutationId: clientMutationId ?? null };
}

async function check(
  repository: GitHubRepository,
  token: GitHubToken,
  { name, afterOid, scope }: { name: string; afterOid: string; scope: UpdateRefsScope },
): Promise<void> {
  if (scope === "heads-and-tags" && !/^refs\/(?:heads|tags)\/./.test(name)) throw refused();
  if ((await git(repository.path, ["check-ref-format", name])).code !== 0) throw refused();
  if (afterOid === NO_OBJECT) return;
  if (violation(repository.rulesets, token.login, name) !== undefined) throw refused();
  if ((await readObject(repository.path, afterOid)) === undefined) throw refused();
  if (token.permissions.workflows !== true && (await repository.needsWorkflows(afterOid))) throw forbidden();
}

/** Without `force` a ref that exists only moves to a descendant. */
async function isForward(repository: GitHubRepository, name: string, after: string): Promise<boolean> {
  const now = await repository.refTarget(name);
  if (now === undefined || after === NO_OBJECT) return true;
  return (await git(repository.path, ["merge-base", "--is-ancestor", now, after])).code === 0;
}

const forbidden = (): Error => graphqlError("FORBIDDEN", "Resource not accessible by integration");
const refused = (): Error => graphqlError("UNPROCESSABLE", "The ref updates could not be performed");
