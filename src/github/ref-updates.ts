import { RateLimitError, statusOf } from "./answers.ts";
import { named, type Place, told } from "./requests.ts";
import { readRef } from "./refs.ts";

/** A change of one ref. */
export interface RefChange {
  readonly ref: string;
  /** What the ref must point at now; `undefined`: there must be no such ref. */
  readonly from: string | undefined;
  /** What it points at afterwards; `undefined`: it is deleted. */
  readonly to: string | undefined;
}

/**
 * `updated`: all changes were made. `conflict`: none was, because a ref does not point at its `from`. `unsupported`: none
 * was, because this server, this token or this kind of ref does not allow such requests.
 */
export type RefsUpdated = "updated" | "conflict" | "unsupported";

/** GraphQL reference, RefUpdate: "can be used to verify that the references should not exist", and "to delete a reference". */
const NO_OBJECT = "0".repeat(40);

const MUTATION = `mutation($input: UpdateRefsInput!) { updateRefs(input: $input) { clientMutationId } }`;

/** Tries of a request that GitHub refused although no ref is in the way: reads may lag behind writes. */
const TRIES = 2;

/** Changes several refs in one atomic request (GraphQL reference, updateRefs), if the server supports it. */
export class RefUpdates {
  readonly #place: Place;
  #id: string | undefined;
  #isUnsupported = false;

  constructor(place: Place) {
    this.#place = place;
  }

  /** The repository's node id, as another query brought it along. */
  learn(id: string | undefined): void {
    this.#id = id ?? this.#id;
  }

  /**
   * Makes all changes, or none. GitHub does not document how it words a refusal, so the refs themselves decide what it
   * meant.
   */
  async apply(changes: readonly RefChange[]): Promise<RefsUpdated> {
    let tries = 0;
    while (!this.#isUnsupported && tries < TRIES) {
      tries += 1;
      const outcome = await this.#attempt(changes);
      if (outcome !== "unsupported") return outcome;
    }
    return this.#never();
  }

  async #attempt(changes: readonly RefChange[]): Promise<RefsUpdated> {
    try {
      this.#id ??= await this.#readId();
      if (this.#id === undefined) return this.#never();
      const { octokit } = this.#place;
      const refUpdates = changes.map(({ ref, from, to }) => ({
        name: ref,
        beforeOid: from ?? NO_OBJECT,
        afterOid: to ?? NO_OBJECT,
        force: true,
      }));
      const answer = await octokit.graphql<{ updateRefs: object | null }>(MUTATION, {
        input: { repositoryId: this.#id, refUpdates },
      });
      if (answer.updateRefs !== null) return "updated";
    } catch (error) {
      const status = statusOf(error);
      if (error instanceof RateLimitError || (status !== undefined && ![403, 404, 422].includes(status))) {
        throw told(error, `update ${changes.map(({ ref }) => ref).join(", ")}`, this.#place);
      }
      if (status === 403 || status === 404) return this.#never();
    }
    return outcomeOf(changes, await this.#read(changes));
  }

  /** Asking again would get the same answer. */
  #never(): "unsupported" {
    this.#isUnsupported = true;
    return "unsupported";
  }

  async #readId(): Promise<string | undefined> {
    const { octokit, owner, repo } = this.#place;
    const query = `query($owner: String!, $repo: String!) { repository(owner: $owner, name: $repo) { id } }`;
    const answer = await octokit.graphql<{ repository: { id: string } | null }>(query, { owner, repo });
    return answer.repository?.id;
  }

  #read(changes: readonly RefChange[]): Promise<readonly (string | undefined)[]> {
    return named("read refs", this.#place, () =>
      Promise.all(changes.map(({ ref }) => readRef(this.#place, ref))),
    );
  }
}

/**
 * What became of changes that GitHub refused, by what their refs point at. A refusal may also answer a repeated request
 * whose first answer was lost: since all changes are made together, one ref that points at its new object proves it.
 */
export function outcomeOf(changes: readonly RefChange[], now: readonly (string | undefined)[]): RefsUpdated {
  const written = changes.some(({ to }, index) => to !== undefined && now[index] === to);
  const onlyDeletes = changes.every(({ to }) => to === undefined);
  if (written || (onlyDeletes && now.every((sha) => sha === undefined))) return "updated";
  return changes.every(({ from }, index) => now[index] === from) ? "unsupported" : "conflict";
}
