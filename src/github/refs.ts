import { hasStatus } from "./answers.ts";
import { type Place, told, unlessMissing } from "./requests.ts";

/** The repository's refs, by full name (`refs/tags/release/dev/000001`). */
export interface Refs {
  /** Points a new ref at an object; `created` also where it points there already, `exists` where it is taken. */
  createRef(ref: string, sha: string): Promise<"created" | "exists">;
  /** The sha that a ref points at. */
  readRef(ref: string): Promise<string | undefined>;
  /** Moves a ref forward; `refused` where it would lose a commit, or is gone. */
  updateRef(ref: string, sha: string): Promise<"updated" | "refused">;
  /** Points a ref at another object, whatever it points at now; false where there is no such ref. */
  replaceRef(ref: string, sha: string): Promise<boolean>;
  /** Deletes a ref; one that is gone already is fine. */
  deleteRef(ref: string): Promise<void>;
}

export function refsOf(place: Place): Refs {
  const { git } = place.octokit.rest;
  const { owner, repo } = place;
  return {
    async createRef(ref, sha) {
      try {
        await git.createRef({ owner, repo, ref, sha });
        return "created";
      } catch (error) {
        // 409 and 422 mean "maybe taken", but also a bad name or a lost answer: what the ref points at decides.
        if (!hasStatus(error, 409, 422)) throw told(error, `create ${ref}`, place);
        const found = await readRef(place, ref);
        if (found === sha) return "created";
        // One that is taken but not to be seen was deleted just now, or the read was answered by a server that lags.
        if (found !== undefined || isTaken(error)) return "exists";
        throw told(error, `create ${ref}`, place);
      }
    },
    readRef: (ref) => readRef(place, ref),
    async updateRef(ref, sha) {
      try {
        // Repeated after a lost answer it finds itself done: a ref may move to where it is.
        await git.updateRef({ owner, repo, ref: withoutRefs(ref), sha, force: false });
        return "updated";
      } catch (error) {
        if (!hasStatus(error, 404, 409, 422)) throw told(error, `update ${ref}`, place);
        return (await readRef(place, ref)) === sha ? "updated" : "refused";
      }
    },
    async replaceRef(ref, sha) {
      try {
        await git.updateRef({ owner, repo, ref: withoutRefs(ref), sha, force: true });
        return true;
      } catch (error) {
        if (hasStatus(error, 404, 422)) return false;
        throw told(error, `update ${ref}`, place);
      }
    },
    async deleteRef(ref) {
      try {
        await git.deleteRef({ owner, repo, ref: withoutRefs(ref) });
      } catch (error) {
        if (hasStatus(error, 404)) return;
        // "Reference does not exist", or a refusal, or the answer to what was done already: the ref itself tells.
        const gone = hasStatus(error, 409, 422) && (await readRef(place, ref)) === undefined;
        if (!gone) throw told(error, `delete ${ref}`, place);
      }
    },
  };
}

/** The sha that a ref points at; undefined where there is no such ref. */
export async function readRef(place: Place, ref: string): Promise<string | undefined> {
  const { octokit, owner, repo } = place;
  const answer = await unlessMissing(`read ${ref}`, place, () =>
    octokit.rest.git.getRef({ owner, repo, ref: withoutRefs(ref) }),
  );
  return answer?.data.object.sha;
}

/** As the REST API names it. */
export const withoutRefs = (ref: string): string => ref.replace(/^refs\//, "");

/** In GitHub's words; a name below or above another ref is refused in others. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("Reference already exists");
}
