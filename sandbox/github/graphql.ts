import type { DocumentNode, ExecutionResult } from "graphql";
import { execute, GraphQLError, Kind, OperationTypeNode, parse, validate } from "graphql";
import type { GitHubToken } from "./access.ts";
import { reads, sees } from "./access.ts";
import type { Answer, Body } from "./endpoint.ts";
import { isBody, nodeId } from "./endpoint.ts";
import type { GitObject, GitRef, ObjectType } from "./git.ts";
import { readObject, readObjects } from "./git.ts";
import { type UpdateRefsInput, updateRefs, type UpdateRefsScope } from "./graphql-mutations.ts";
import { schema } from "./graphql-schema.ts";
import type { Actor } from "./objects.ts";
import { readCommit, readTag, utc, zoned } from "./objects.ts";
import type { RefsArguments } from "./ref-listing.ts";
import { cursor, graphqlError, refPage } from "./ref-listing.ts";
import type { GitHubRepository } from "./repository.ts";

/** Whose request it is, and what the server has. */
export interface GraphqlContext {
  readonly token: GitHubToken;
  readonly find: (owner: string, name: string) => GitHubRepository | undefined;
  readonly repositories: readonly GitHubRepository[];
  readonly updateRefs: UpdateRefsScope;
}

/** Answers `POST /graphql`. Errors of a query are answered with 200, as GitHub does. */
export async function answerGraphql(body: Body, context: GraphqlContext): Promise<Answer> {
  const { token, find } = context;
  if (typeof body["query"] !== "string") {
    return {
      status: 200,
      body: { errors: [{ message: "A query attribute must be specified and must be a string." }] },
    };
  }
  const document = parsed(body["query"]);
  if (document instanceof GraphQLError) return { status: 200, body: { errors: [errorJson(document)] } };
  const problems = validate(schema, document);
  if (problems.length > 0) return { status: 200, body: { errors: problems.map(errorJson) } };
  const rootValue = {
    repository: (args: { owner: string; name: string }) => {
      const repository = find(args.owner, args.name);
      if (repository !== undefined && sees(token, repository))
        return reads(token, repository) ? repositoryNode(repository) : withoutContents(repository);
      const message = `Could not resolve to a Repository with the name '${args.owner}/${args.name}'.`;
      throw graphqlError("NOT_FOUND", message);
    },
    updateRefs: (args: { input: UpdateRefsInput }) => updateRefs(args.input, context),
  };
  const variableValues = isBody(body["variables"]) ? body["variables"] : {};
  const operationName = typeof body["operationName"] === "string" ? body["operationName"] : null;
  const result = await execute({ schema, document, rootValue, variableValues, operationName });
  return { status: 200, body: resultJson(result) };
}

/** Whether a request could change something: for the request log. */
export function isMutation(body: Body): boolean {
  const document = typeof body["query"] === "string" ? parsed(body["query"]) : undefined;
  if (document === undefined || document instanceof GraphQLError) return false;
  return document.definitions.some(
    (definition) =>
      definition.kind === Kind.OPERATION_DEFINITION && definition.operation === OperationTypeNode.MUTATION,
  );
}

function parsed(query: string): DocumentNode | GraphQLError {
  try {
    return parse(query);
  } catch (error) {
    if (error instanceof GraphQLError) return error;
    throw error;
  }
}

function errorJson(error: GraphQLError): object {
  const { type, ...extensions } = error.extensions;
  return {
    ...(type === undefined ? {} : { type }),
    ...(error.path === undefined ? {} : { path: error.path }),
    ...(Object.keys(extensions).length === 0 ? {} : { extensions }),
    ...(error.locations === undefined ? {} : { locations: error.locations }),
    message: error.message,
  };
}

function resultJson(result: ExecutionResult): object {
  return {
    data: result.data ?? null,
    ...(result.errors === undefined ? {} : { errors: result.errors.map(errorJson) }),
  };
}

/**
 * Looks objects up together: what the fields of one level ask for at the same time goes to one git process,
 * across all aliases of the query.
 */
class ObjectLoader {
  readonly #path: string;
  #waiting = new Map<string, PromiseWithResolvers<GitObject | undefined>>();

  constructor(path: string) {
    this.#path = path;
  }

  async load(oid: string): Promise<GitObject | undefined> {
    if (this.#waiting.size === 0) setImmediate(() => void this.#flush());
    const known = this.#waiting.get(oid) ?? Promise.withResolvers<GitObject | undefined>();
    this.#waiting.set(oid, known);
    return known.promise;
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = new Map();
    try {
      const objects = await readObjects(this.#path, [...waiting.keys()]);
      [...waiting.values()].forEach(({ resolve }, index) => resolve(objects[index]));
    } catch (error) {
      for (const { reject } of waiting.values()) reject(error);
    }
  }
}

/** A plain object a type; a function is a field that costs something, called only when the query asks for it. */
function repositoryNode(repository: GitHubRepository): object {
  const { path, fullName } = repository;
  const loader = new ObjectLoader(path);
  const refNode = (ref: Omit<GitRef, "type">, prefix: string): object => ({
    id: nodeId("REF", `${fullName}:${ref.name}`),
    name: ref.name.slice(prefix.length),
    prefix,
    target: async () => objectNode(repository, loader, await loader.load(ref.oid)),
  });
  const ref = async (name: string): Promise<object | null> => {
    const oid = await repository.refTarget(name);
    const prefix = /^refs\/[^/]+\//.exec(name)?.[0] ?? "";
    return oid === undefined ? null : refNode({ name, oid }, prefix);
  };
  return {
    id: nodeId("R", fullName),
    name: repository.name,
    nameWithOwner: fullName,
    isPrivate: repository.private,
    url: repository.htmlUrl,
    defaultBranchRef: async () => ref(`refs/heads/${repository.defaultBranch}`),
    ref: async (args: { qualifiedName: string }) => ref(args.qualifiedName),
    object: async (args: { oid?: string; expression?: string }) => {
      const name = args.oid ?? args.expression;
      if (name === undefined) throw graphqlError("ARGUMENT_ERROR", "Please provide an oid or an expression");
      return objectNode(repository, loader, await readObject(path, name));
    },
    refs: async (args: RefsArguments) => {
      const page = await refPage(path, args);
      const nodes = page.refs.map((found) => refNode(found, args.refPrefix));
      const end = page.start + nodes.length;
      return {
        nodes,
        edges: nodes.map((node, index) => ({ node, cursor: cursor(page.start + index + 1) })),
        totalCount: page.total,
        pageInfo: {
          hasNextPage: page.hasNextPage,
          hasPreviousPage: page.start > 0,
          startCursor: nodes.length === 0 ? null : cursor(page.start + 1),
          endCursor: nodes.length === 0 ? null : cursor(end),
        },
      };
    },
  };
}

/**
 * A repository to a token that sees it and not its contents: fields that the token may not have are null, with an error
 * each (actions/create-github-app-token #200, fpicalausa/remove-stale-branches #49).
 */
function withoutContents(repository: GitHubRepository): object {
  const refuse = (): never => {
    throw graphqlError("FORBIDDEN", "Resource not accessible by integration");
  };
  const hidden = { defaultBranchRef: refuse, ref: refuse, object: refuse, refs: refuse };
  return { ...repositoryNode(repository), ...hidden };
}

function actorNode(actor: Actor | undefined): object | null {
  return actor === undefined ? null : { name: actor.name, email: actor.email, date: zoned(actor) };
}

/** What each type of object has beside its name. */
const DETAILS: Record<
  ObjectType,
  (object: GitObject, repository: GitHubRepository, loader: ObjectLoader) => object
> = {
  tag: (object, repository, loader) => {
    const tag = readTag(object);
    return {
      __typename: "Tag",
      name: tag.name,
      message: tag.message,
      tagger: actorNode(tag.tagger),
      target: async () => objectNode(repository, loader, await loader.load(tag.object)),
    };
  },
  commit: (object, repository, loader) => {
    const commit = readCommit(object);
    const node = async (oid: string): Promise<object | null> =>
      objectNode(repository, loader, await loader.load(oid));
    return {
      __typename: "Commit",
      message: commit.message.replace(/\n$/, ""),
      messageHeadline: commit.message.split("\n")[0],
      author: actorNode(commit.author),
      committer: actorNode(commit.committer),
      authoredDate: utc(commit.author),
      committedDate: utc(commit.committer),
      url: `${repository.htmlUrl}/commit/${commit.oid}`,
      tree: () => node(commit.tree),
      parents: (args: { first?: number; last?: number }) => connection(commit.parents, args, node),
    };
  },
  blob: ({ body }) => {
    const isBinary = body.subarray(0, 8000).includes(0);
    return {
      __typename: "Blob",
      byteSize: body.length,
      isBinary,
      isTruncated: body.length > LONGEST_TEXT,
      // "UTF8 text data or null if the Blob is binary"
      text: isBinary ? null : body.subarray(0, LONGEST_TEXT).toString(),
    };
  },
  tree: (object, repository, loader) => ({
    __typename: "Tree",
    entries: () =>
      readTree(object).map((entry) => ({
        ...entry,
        object: async () => objectNode(repository, loader, await loader.load(entry.oid)),
      })),
  }),
};

/** GraphQL's reference says that a blob's text may be truncated, not where; this is a cut that tests can reach. */
const LONGEST_TEXT = 512_000;

/** "You must provide a `first` or `last` value to properly paginate", and at most 100: the node limit's first rule. */
function connection(
  oids: readonly string[],
  { first, last }: { first?: number; last?: number },
  node: (oid: string) => Promise<object | null>,
): object {
  const count = first ?? last;
  if (count === undefined || count < 1 || count > 100) {
    throw graphqlError(
      "MISSING_PAGINATION_BOUNDARIES",
      "You must provide a `first` or `last` value of 1 to 100.",
    );
  }
  const page = first === undefined ? oids.slice(-count) : oids.slice(0, count);
  return { totalCount: oids.length, nodes: async () => Promise.all(page.map(node)) };
}

/** The binary form of a tree: mode, blank, name, NUL, 20 bytes of id (git-scm.com, "Git Objects", tree objects). */
function readTree({ body }: GitObject): { name: string; mode: number; type: string; oid: string }[] {
  const entries: { name: string; mode: number; type: string; oid: string }[] = [];
  for (let at = 0; at < body.length;) {
    const blank = body.indexOf(32, at);
    const end = body.indexOf(0, blank);
    const mode = Number.parseInt(body.toString("ascii", at, blank), 8);
    const type = mode === 0o040000 ? "tree" : mode === 0o160000 ? "commit" : "blob";
    const oid = body.toString("hex", end + 1, end + 21);
    entries.push({ name: body.toString("utf8", blank + 1, end), mode, type, oid });
    at = end + 21;
  }
  return entries;
}

function objectNode(
  repository: GitHubRepository,
  loader: ObjectLoader,
  object: GitObject | undefined,
): object | null {
  if (object === undefined) return null;
  return {
    oid: object.oid,
    abbreviatedOid: object.oid.slice(0, 7),
    id: nodeId(object.type, `${repository.fullName}:${object.oid}`),
    ...DETAILS[object.type](object, repository, loader),
  };
}
