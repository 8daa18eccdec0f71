import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { filteredWith } from "./filters.ts";
import { page } from "./paging.ts";
import { every, find, isVisible, kindOfId, notFound, resourceKinds } from "./state.ts";
import type { AnyResource, Ec2State, ResourceKind } from "./state.ts";

type Tags = Readonly<Record<string, string>>;

export function tagSet(tags: Tags): { item: { key: string; value: string }[] } {
  return { item: Object.entries(tags).map(([key, value]) => ({ key, value })) };
}

/** The tags that a creating call's TagSpecifications give to resources of this kind. */
export function specifiedTags(query: Query, kind: ResourceKind): Record<string, string> {
  const specifications = query
    .structs("TagSpecification")
    .filter((specification) => specification.string("ResourceType") === kind);
  return withTags({}, Object.assign({}, ...specifications.map((specification) => tagsOf(specification))));
}

function tagsOf(query: Query): Record<string, string> {
  return Object.fromEntries(
    query.structs("Tag").map((tag) => [tag.required("Key"), tag.string("Value") ?? ""]),
  );
}

/** EC2 user guide, Tag your resources: restrictions. */
function withTags(existing: Tags, added: Tags): Record<string, string> {
  for (const [key, value] of Object.entries(added)) {
    if (key.toLowerCase().startsWith("aws:")) {
      const text = `Tag keys starting with 'aws:' are reserved for internal use`;
      throw new AwsError("InvalidParameterValue", text);
    }
    if (key.length > 128) throw new AwsError("InvalidTagKey.Malformed", "Tag key exceeds 128 characters");
    if (value.length > 256) {
      throw new AwsError("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters");
    }
  }
  const tags = { ...existing, ...added };
  if (Object.keys(tags).filter((key) => !key.startsWith("aws:")).length > 50) {
    throw new AwsError("TagLimitExceeded", "More than 50 tags specified");
  }
  return tags;
}

/** The named resources; tags on another account's resource are that account's business, so it is not found here. */
function targets(state: Ec2State, call: Call): AnyResource[] {
  return call.query.strings("ResourceId").map((id) => {
    const kind = kindOfId(id);
    if (kind === undefined) throw new AwsError("InvalidID", `The ID '${id}' is not valid`);
    const resource = find(state, call, kind, id);
    if (resource.kind === "image" && resource.deregisteredAt !== undefined) throw notFound("image", id);
    return resource;
  });
}

export function tagOperations(state: Ec2State): Operations {
  return {
    CreateTags(call) {
      const tags = tagsOf(call.query);
      // All ids and tags are checked before the first tag is set: the call works for all resources or for none.
      const changes = targets(state, call).map(
        (resource) => [resource, withTags(resource.tags, tags)] as const,
      );
      for (const [resource, tags] of changes) resource.tags = tags;
      return { return: true };
    },
    DeleteTags(call) {
      const given = call.query.structs("Tag");
      for (const resource of targets(state, call)) {
        resource.tags = Object.fromEntries(
          Object.entries(resource.tags).filter(([key, value]) => !isDeleted(given, key, value)),
        );
      }
      return { return: true };
    },
    DescribeTags(call) {
      const tags = filteredWith(call.query, tagFields, allTags(state, call));
      const { items, nextToken } = page(state, call, tags, {
        action: "DescribeTags",
        bounds: [5, 1000],
      });
      return { nextToken, tagSet: { item: items } };
    },
  };
}

/** EC2 API reference, DeleteTags: a key without a value means any value; without tags, all user-defined tags go. */
function isDeleted(given: readonly Query[], key: string, value: string): boolean {
  if (key.startsWith("aws:")) return false;
  if (given.length === 0) return true;
  return given.some((tag) => tag.string("Key") === key && (tag.string("Value") ?? value) === value);
}

interface TagItem {
  readonly key: string;
  readonly value: string;
  readonly resourceId: string;
  readonly resourceType: string;
}

const tagFields = {
  key: (tag: TagItem) => tag.key,
  value: (tag: TagItem) => tag.value,
  "resource-id": (tag: TagItem) => tag.resourceId,
  "resource-type": (tag: TagItem) => tag.resourceType,
};

function allTags(state: Ec2State, call: Call): TagItem[] {
  return tagged(state, call).flatMap(({ kind, id, tags }) =>
    Object.entries(tags).map(([key, value]) => ({ key, value, resourceId: id, resourceType: kind })),
  );
}

function tagged(state: Ec2State, call: Call): AnyResource[] {
  return resourceKinds
    .flatMap((kind): AnyResource[] => every(state, kind))
    .filter((resource) => resource.region === call.region && resource.ownerId === call.accountId)
    .filter((resource) => isVisible(state, resource));
}
