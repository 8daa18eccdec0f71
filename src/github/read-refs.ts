import type { TagObject } from "./git-objects.ts";
import { named, type Place, withoutGraphql } from "./requests.ts";
import { readRef, withoutRefs } from "./refs.ts";

/** A ref under a prefix together with the annotated tag it points at (undefined: a lightweight tag). */
export interface TagRef {
  /** Without the prefix. */
  readonly name: string;
  readonly tag: TagObject | undefined;
}

/** What is to be read of a repository's refs. */
export interface RefsWanted {
  /** `refs/tags/release/dev/` */
  readonly prefixes: readonly string[];
  /** How many of the newest tags, by name, under each prefix. */
  readonly count: number;
  /** Full names of single refs. */
  readonly refs?: readonly string[];
}

export interface RefsSeen {
  /** By prefix; newest first. */
  readonly tags: ReadonlyMap<string, readonly TagRef[]>;
  /** What each of the single refs points at; `undefined` if there is no such ref, or it is not visible yet. */
  readonly refs: ReadonlyMap<string, string | undefined>;
  /** The repository's GraphQL node id, if GraphQL answered. */
  readonly repositoryId: string | undefined;
}

/** Reads the newest tags under each prefix and single refs, in one request where GraphQL is available. */
export function readRefs(place: Place, wanted: RefsWanted): Promise<RefsSeen> {
  return withoutGraphql(
    () => readByGraphql(place, wanted),
    () => readByRest(place, wanted),
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

/** An alias's answer: a connection of refs, or a single ref. */
type AliasAnswer = RefsAnswer | { readonly target: { readonly oid: string } | null } | null;

/**
 * One GraphQL request with an alias for each prefix and each ref. ALPHABETICAL descending over zero-padded numbers is newest
 * first; TAG_COMMIT_DATE would sort by the tagged commit's date (GraphQL reference, RefOrderField).
 */
async function readByGraphql(place: Place, { prefixes, count, refs = [] }: RefsWanted): Promise<RefsSeen> {
  const { octokit, owner, repo } = place;
  const fields = `nodes { name target { __typename oid ... on Tag { message target { oid } } } }`;
  const names = [...prefixes.map((_, index) => `p${index}`), ...refs.map((_, index) => `r${index}`)];
  const query = `query($owner: String!, $repo: String!, ${prefixes.length === 0 ? "" : "$count: Int!, "}${names.map((name) => `$${name}: String!`).join(", ")}) {
    repository(owner: $owner, name: $repo) {
      id
      ${prefixes.map((_, index) => `p${index}: refs(refPrefix: $p${index}, first: $count, orderBy: {field: ALPHABETICAL, direction: DESC}) { ${fields} }`).join("\n")}
      ${refs.map((_, index) => `r${index}: ref(qualifiedName: $r${index}) { target { oid } }`).join("\n")}
    }
  }`;
  const values = Object.fromEntries(names.map((name, index) => [name, [...prefixes, ...refs][index]]));
  const variables = { owner, repo, ...(prefixes.length === 0 ? {} : { count }), ...values };
  const answer = await named("list the records", place, () =>
    octokit.graphql<{ repository: (Record<string, AliasAnswer> & { id?: string }) | null }>(query, variables),
  );
  const found = answer.repository;
  return {
    tags: new Map(prefixes.map((prefix, index) => [prefix, nodesOf(found?.[`p${index}`]).map(toTagRef)])),
    refs: new Map(refs.map((ref, index) => [ref, targetOf(found?.[`r${index}`])])),
    repositoryId: found?.id,
  };
}

function nodesOf(answer: AliasAnswer | string | undefined): RefsAnswer["nodes"] {
  return typeof answer === "object" && answer !== null && "nodes" in answer ? answer.nodes : [];
}

function targetOf(answer: AliasAnswer | string | undefined): string | undefined {
  return typeof answer === "object" && answer !== null && "target" in answer ? answer.target?.oid : undefined;
}

/** The same by REST: the names under each prefix in one request, then the newest tags' objects. */
async function readByRest(place: Place, { prefixes, count, refs = [] }: RefsWanted): Promise<RefsSeen> {
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
  const single = refs.map(async (ref) => [ref, await readRef(place, ref)] as const);
  const [tags, targets] = await Promise.all([Promise.all(pages), Promise.all(single)]);
  return { tags: new Map(tags), refs: new Map(targets), repositoryId: undefined };
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
