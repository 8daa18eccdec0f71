/** ModifyImageAttribute, DescribeImageAttribute and ResetImageAttribute. */
import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { ownImage, renderedDevices } from "./images.ts";
import type { Image, LaunchPermission } from "./images.ts";
import type { Ec2State } from "./state.ts";

export function imageAttributeOperations(state: Ec2State): Operations {
  return {
    ModifyImageAttribute(call) {
      modify(ownImage(state, call, call.query.required("ImageId")), call.query);
      return { return: true };
    },
    ResetImageAttribute(call) {
      ownImage(state, call, call.query.required("ImageId")).launchPermissions = [];
      return { return: true };
    },
    DescribeImageAttribute: (call) => describe(state, call),
  };
}

function modify(image: Image, query: Query): void {
  const permissions = changes(query);
  const description = query.struct("Description")?.string("Value") ?? attributeValue(query, "description");
  const imdsSupport = query.struct("ImdsSupport")?.string("Value") ?? attributeValue(query, "imdsSupport");
  const given = [permissions.isGiven, description !== undefined, imdsSupport !== undefined];
  // EC2 API reference, ModifyImageAttribute: "You can specify only one attribute at a time."
  if (given.filter(Boolean).length > 1) {
    throw new AwsError("InvalidParameterCombination", "Fields for multiple attribute types specified");
  }
  if (permissions.isGiven) changePermissions(image, permissions);
  else if (description !== undefined) image.description = description;
  else if (imdsSupport !== undefined) image.imdsSupport = imdsSupport;
  else throw new AwsError("InvalidParameterCombination", "No attributes specified.");
}

function attributeValue(query: Query, attribute: string): string | undefined {
  return query.string("Attribute") === attribute ? query.string("Value") : undefined;
}

interface PermissionChanges {
  readonly isGiven: boolean;
  readonly added: readonly LaunchPermission[];
  readonly removed: readonly LaunchPermission[];
}

/** Both forms: `LaunchPermission.Add.1.UserId`, and `OperationType=add&UserId.1` as Packer sends it. */
function changes(query: Query): PermissionChanges {
  const structure = query.struct("LaunchPermission");
  const listed = [
    ...query.strings("UserId").map((userId) => ({ userId })),
    ...query.strings("UserGroup").map((group) => ({ group })),
    ...query.strings("OrganizationArn").map((organizationArn) => ({ organizationArn })),
    ...query.strings("OrganizationalUnitArn").map((organizationalUnitArn) => ({ organizationalUnitArn })),
  ];
  const isRemoval = query.string("OperationType") === "remove";
  const added = [...(structure?.structs("Add") ?? []).map(permission), ...(isRemoval ? [] : listed)];
  const removed = [...(structure?.structs("Remove") ?? []).map(permission), ...(isRemoval ? listed : [])];
  return { isGiven: added.length + removed.length > 0, added, removed };
}

function permission(query: Query): LaunchPermission {
  const userId = query.string("UserId");
  if (userId !== undefined) return { userId };
  const group = query.string("Group");
  if (group !== undefined) return { group };
  const organizationArn = query.string("OrganizationArn");
  if (organizationArn !== undefined) return { organizationArn };
  return { organizationalUnitArn: query.required("OrganizationalUnitArn") };
}

function changePermissions(image: Image, { added, removed }: PermissionChanges): void {
  for (const { userId, group } of [...added, ...removed]) {
    if (userId !== undefined && !/^\d{12}$/.test(userId)) {
      throw new AwsError(
        "InvalidAMIAttributeItemValue",
        `Invalid attribute item value "${userId}" for userId item type.`,
      );
    }
    if (group !== undefined && group !== "all") {
      throw new AwsError(
        "InvalidAMIAttributeItemValue",
        `Invalid attribute item value "${group}" for group item type.`,
      );
    }
  }
  const gone = new Set(removed.map(identity));
  const kept = new Map([...image.launchPermissions, ...added].map((item) => [identity(item), item]));
  image.launchPermissions = [...kept].filter(([key]) => !gone.has(key)).map(([, item]) => item);
}

function identity(item: LaunchPermission): string {
  return JSON.stringify(item);
}

/** EC2 API reference, DescribeImageAttribute: one attribute, for the owner only. */
function describe(state: Ec2State, call: Call): Record<string, unknown> {
  const image = ownImage(state, call, call.query.required("ImageId"));
  const attributes: Readonly<Record<string, unknown>> = {
    description: { value: image.description },
    launchPermission: { item: image.launchPermissions },
    imdsSupport: { value: image.imdsSupport },
    bootMode: { value: image.bootMode },
    blockDeviceMapping: { item: renderedDevices(image) },
    deregistrationProtection: { value: image.protection },
  };
  const attribute = call.query.required("Attribute");
  if (!Object.hasOwn(attributes, attribute)) {
    throw new AwsError("InvalidParameterValue", `Value (${attribute}) for parameter attribute is invalid.`);
  }
  return { imageId: image.id, [attribute]: attributes[attribute] };
}
