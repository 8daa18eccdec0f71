import { buildSchema } from "graphql";

/**
 * The part of GitHub's public GraphQL schema that reads refs, objects and files, and updates refs, in its names and
 * nullability. Nullability
 * counts: `... on Tag { message } ... on Commit { message }` in one selection is not valid (GraphQL specification,
 * "Field Selection Merging"), as the one may be null and the other may not.
 */
export const schema = buildSchema(/* GraphQL */ `
  scalar DateTime
  scalar GitObjectID
  scalar GitRefname
  scalar GitTimestamp
  scalar URI

  type Query {
    repository(owner: String!, name: String!, followRenames: Boolean = true): Repository
  }

  type Mutation {
    updateRefs(input: UpdateRefsInput!): UpdateRefsPayload
  }

  input UpdateRefsInput {
    clientMutationId: String
    refUpdates: [RefUpdate!]!
    repositoryId: ID!
  }

  input RefUpdate {
    afterOid: GitObjectID!
    beforeOid: GitObjectID
    force: Boolean = false
    name: GitRefname!
  }

  type UpdateRefsPayload {
    clientMutationId: String
  }

  type Repository {
    id: ID!
    name: String!
    nameWithOwner: String!
    isPrivate: Boolean!
    url: URI!
    defaultBranchRef: Ref
    object(expression: String, oid: GitObjectID): GitObject
    ref(qualifiedName: String!): Ref
    refs(
      after: String
      before: String
      first: Int
      last: Int
      orderBy: RefOrder
      query: String
      refPrefix: String!
    ): RefConnection
  }

  input RefOrder {
    direction: OrderDirection!
    field: RefOrderField!
  }

  enum OrderDirection {
    ASC
    DESC
  }

  enum RefOrderField {
    ALPHABETICAL
    TAG_COMMIT_DATE
  }

  type RefConnection {
    edges: [RefEdge]
    nodes: [Ref]
    pageInfo: PageInfo!
    totalCount: Int!
  }

  type RefEdge {
    cursor: String!
    node: Ref
  }

  type PageInfo {
    endCursor: String
    hasNextPage: Boolean!
    hasPreviousPage: Boolean!
    startCursor: String
  }

  type Ref {
    id: ID!
    name: String!
    prefix: String!
    target: GitObject
  }

  interface GitObject {
    abbreviatedOid: String!
    id: ID!
    oid: GitObjectID!
  }

  type Tag implements GitObject {
    abbreviatedOid: String!
    id: ID!
    message: String
    name: String!
    oid: GitObjectID!
    tagger: GitActor
    target: GitObject!
  }

  type Commit implements GitObject {
    abbreviatedOid: String!
    author: GitActor
    authoredDate: DateTime!
    committedDate: DateTime!
    committer: GitActor
    id: ID!
    message: String!
    messageHeadline: String!
    oid: GitObjectID!
    parents(after: String, before: String, first: Int, last: Int): CommitConnection!
    tree: Tree!
    url: URI!
  }

  type CommitConnection {
    nodes: [Commit]
    totalCount: Int!
  }

  type Tree implements GitObject {
    abbreviatedOid: String!
    entries: [TreeEntry!]
    id: ID!
    oid: GitObjectID!
  }

  type TreeEntry {
    mode: Int!
    name: String!
    object: GitObject
    oid: GitObjectID!
    type: String!
  }

  type Blob implements GitObject {
    abbreviatedOid: String!
    byteSize: Int!
    id: ID!
    isBinary: Boolean
    isTruncated: Boolean!
    oid: GitObjectID!
    text: String
  }

  type GitActor {
    date: GitTimestamp
    email: String
    name: String
  }
`);
