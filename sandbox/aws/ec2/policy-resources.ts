/** How policies see EC2's resources: their ARNs, and what conditions can say of their tags. */
import type { Place } from "../fleet.ts";
import type { Check, RequestContext } from "../iam.ts";
import type { Query } from "../query.ts";
import type { AnyResource, ResourceKind } from "./state.ts";

/** Kinds that policies name besides those that the sandbox keeps. */
export type PolicyResource = ResourceKind | "network-interface" | "subnet" | "vpc";

/** Public and shared resources: their ARNs name no account. */
const WITHOUT_ACCOUNT: ReadonlySet<PolicyResource> = new Set(["image", "snapshot"]);

export function ec2Arn(place: Place, kind: PolicyResource, id: string): string {
  const account = WITHOUT_ACCOUNT.has(kind) ? "" : place.accountId;
  return `arn:aws:ec2:${place.region}:${account}:${kind}/${id}`;
}

/** What a request says of a resource that is there: its tags, as far as the caller's account can see them. */
export function resourceContext(place: Place, resource: AnyResource | undefined): RequestContext {
  if (resource === undefined || resource.ownerId !== place.accountId) return {};
  return prefixed(["aws:ResourceTag", "ec2:ResourceTag"], resource.tags);
}

function prefixed(prefixes: readonly string[], tags: Readonly<Record<string, string>>): RequestContext {
  return Object.fromEntries(
    Object.entries(tags).flatMap(([key, value]) =>
      prefixes.map((prefix) => [`${prefix}/${key}`, value] as const),
    ),
  );
}

/** What a request says of the tags that it gives. */
export function tagContext(tags: Readonly<Record<string, string>>): RequestContext {
  const keys = Object.keys(tags);
  return keys.length === 0 ? {} : { ...prefixed(["aws:RequestTag"], tags), "aws:TagKeys": keys };
}

export function tagsIn(query: Query): Record<string, string> {
  return Object.fromEntries(
    query.structs("Tag").map((tag) => [tag.required("Key"), tag.string("Value") ?? ""]),
  );
}

/** The tags that a request gives when it creates resources, by their kind. */
export function creationTags(query: Query): ReadonlyMap<string, Readonly<Record<string, string>>> {
  return new Map(
    query
      .structs("TagSpecification")
      .map((specification) => [specification.required("ResourceType"), tagsIn(specification)]),
  );
}

/**
 * Tags on creation are allowed by `ec2:CreateTags`, whose `ec2:CreateAction` says what creates (EC2 user guide, Grant
 * permission to tag resources during creation).
 */
export function creationTagChecks(place: Place, action: string, query: Query): Check[] {
  return [...creationTags(query)].map(([kind, tags]) => ({
    action: "ec2:CreateTags",
    resource: ec2Arn(place, kind as PolicyResource, "*"),
    context: { ...tagContext(tags), "ec2:CreateAction": action },
  }));
}

/**
 * DeregisterImage deletes snapshots with the caller's permission for each; one that is missing is told in the answer, and
 * the image goes all the same (API reference, DeleteSnapshotReturnCode, `missing-permissions`).
 */
export function snapshotDeletion(place: Place, snapshot: AnyResource): Check {
  return {
    action: "ec2:DeleteSnapshot",
    resource: ec2Arn(place, "snapshot", snapshot.id),
    context: resourceContext(place, snapshot),
  };
}
