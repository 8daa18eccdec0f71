import type { TagObject } from "./git-objects.ts";
import { named, type Place, withoutGraphql } from "./requests.ts";
import { withoutRefs } from "./refs.ts";

/** A ref under a prefix together with the annotated tag it points at (undefined: a lightweight tag). */
export interface TagRef {
  /** Without the prefix. */
  readonly name: string;
  readonly tag: TagObject | undefined;
}

/** The newest tags by name under each prefix (`refs/tags/release/dev/`), in one request. */
export function newestTags(
  place: Place,
  prefixes: readonly string[],
  count: number,
): Promise<ReadonlyMap<string, readonly TagRef[]>> {
  return withoutGraphql(
    () => newestByGraphql(place, prefixes, count),
    () => newestByRest(place, prefixes, count),
  );
}

interface RefsAnswer {
  readonly nodes: readonly {
    readonly name: string;
    readonly target: {
      readonly __typename: string;
      readonly oid: string;
      readonly message?: string;
      readonly target?: { readonly oid: string };
    };
  }[];
}

/**
 * One GraphQL request with an alias a prefix. ALPHABETICAL descending over zero-padded numbers is newest first;
 * TAG_COMMIT_DATE would sort by the tagged commit's date (GraphQL reference, RefOrderField).
 */
async function newestByGraphql(
  place: Place,
  prefixes: readonly string[],
  count: number,
): Promise<ReadonlyMap<string, readonly TagRef[]>> {
  const { octokit, owner, repo } = place;
  const fields = `nodes { name target { __typename oid ... on Tag { message target { oid } } } }`;
  const query = `query($owner: String!, $repo: String!, $count: Int!, ${prefixes.map((_, index) => `$p${index}: String!`).join(", ")}) {
    repository(owner: $owner, name: $repo) {
      ${prefixes.map((_, index) => `p${index}: refs(refPrefix: $p${index}, first: $count, orderBy: {field: ALPHABETICAL, direction: DESC}) { ${fields} }`).join("\n")}
    }
  }`;
  const variables = {
    owner,
    repo,
    count,
    ...Object.fromEntries(prefixes.map((prefix, index) => [`p${index}`, prefix])),
  };
  const answer = await named("list the records", place, () =>
    octokit.graphql<{ repository: Record<string, RefsAnswer | null> | null }>(query, variables),
  );
  return new Map(
    prefixes.map((prefix, index) => [prefix, (answer.repository?.[`p${index}`]?.nodes ?? []).map(toTagRef)]),
  );
}

/** The same by REST: the names under each prefix in one request, then the newest tags' objects. */
async function newestByRest(
  place: Place,
  prefixes: readonly string[],
  count: number,
): Promise<ReadonlyMap<string, readonly TagRef[]>> {
  const { octokit, owner, repo } = place;
  const pages = prefixes.map(async (prefix) => {
    const { data } = await named(`list ${prefix}`, place, () =>
      octokit.rest.git.listMatchingRefs({ owner, repo, ref: withoutRefs(prefix) }),
    );
    const newest = data
      .toSorted((a, b) => (a.ref < b.ref ? 1 : -1))
      .slice(0, count)
      .map(async ({ ref, object }): Promise<TagRef> => {
        const name = ref.slice(prefix.length);
        if (object.type !== "tag") return { name, tag: undefined };
        const tag = await named(`read the tag object ${object.sha}`, place, () =>
          octokit.rest.git.getTag({ owner, repo, tag_sha: object.sha }),
        );
        return { name, tag: { sha: object.sha, message: tag.data.message, target: tag.data.object.sha } };
      });
    return [prefix, await Promise.all(newest)] as const;
  });
  return new Map(await Promise.all(pages));
}

function toTagRef({ name, target }: RefsAnswer["nodes"][number]): TagRef {
  return {
    name,
    tag:
      target.__typename === "Tag" && target.message !== undefined && target.target !== undefined
        ? { sha: target.oid, message: target.message, target: target.target.oid }
        : undefined,
  };
}
