/** Creating, changing and deleting launch templates and their versions. */
import { AwsError } from "../query.ts";
import type { Call, Operations, Query } from "../query.ts";
import { rememberTokens } from "./idempotency.ts";
import { seenImage } from "./images.ts";
import type { LaunchTemplate, NamedVersion, TemplateData } from "./launch-templates.ts";
import {
  renderedTemplate,
  renderedVersion,
  targetTemplate,
  versionOf,
  withOverrides,
} from "./launch-templates.ts";
import { add, newResource, owned } from "./state.ts";
import type { Ec2State } from "./state.ts";
import { specifiedTags } from "./tags.ts";

export function launchTemplateChangeOperations(state: Ec2State): Operations {
  const creations = rememberTokens<LaunchTemplate>();
  const versions = rememberTokens<NamedVersion>();
  const changes = rememberTokens<LaunchTemplate>();
  return {
    CreateLaunchTemplate(call) {
      const template = creations(call, () => createTemplate(state, call));
      const warning = warningFor(state, call, versionOf(template, "1").data);
      return { launchTemplate: renderedTemplate(template), warning };
    },
    CreateLaunchTemplateVersion(call) {
      const named = versions(call, () => createVersion(state, call));
      const aliases = call.query.boolean("ResolveAlias") === true ? state : undefined;
      return {
        launchTemplateVersion: renderedVersion(named, aliases),
        warning: warningFor(state, call, named.version.data),
      };
    },
    ModifyLaunchTemplate(call) {
      const template = changes(call, () => modifyTemplate(state, call));
      return { launchTemplate: renderedTemplate(template) };
    },
    DeleteLaunchTemplate(call) {
      const template = targetTemplate(state, call);
      state.resources.delete(template.id);
      return { launchTemplate: renderedTemplate(template) };
    },
    DeleteLaunchTemplateVersions: (call) => deleteVersions(state, call),
  };
}

function createTemplate(state: Ec2State, call: Call): LaunchTemplate {
  const { query } = call;
  const name = query.required("LaunchTemplateName");
  if (!/^[a-zA-Z0-9().\-/_]{3,128}$/.test(name)) {
    throw new AwsError(
      "InvalidLaunchTemplateName.MalformedException",
      "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _",
    );
  }
  if (owned(state, call, "launch-template").some((template) => template.name === name)) {
    throw new AwsError(
      "InvalidLaunchTemplateName.AlreadyExistsException",
      "Launch template name already in use.",
    );
  }
  const resource = newResource(state, call, "launch-template", specifiedTags(query, "launch-template"));
  return add(state, {
    ...resource,
    kind: "launch-template",
    name,
    defaultVersion: 1,
    latestVersion: 1,
    versions: [
      { number: 1, description: descriptionOf(query), createdAt: resource.createdAt, data: givenData(query) },
    ],
  });
}

function givenData(query: Query): TemplateData {
  const data = query.struct("LaunchTemplateData");
  if (data !== undefined) return data.flat();
  throw new AwsError("MissingParameter", "The request must contain the parameter LaunchTemplateData");
}

function descriptionOf(query: Query): string | undefined {
  const description = query.string("VersionDescription");
  if (description === undefined || description.length <= 255) return description;
  throw new AwsError("InvalidParameterValue", "A version description has at most 255 characters");
}

function createVersion(state: Ec2State, call: Call): NamedVersion {
  const { query } = call;
  const template = targetTemplate(state, call);
  const source = query.string("SourceVersion");
  const given = givenData(query);
  assertRoom(state, template);
  const version = {
    number: template.latestVersion + 1,
    description: descriptionOf(query),
    createdAt: state.clock.now(),
    data:
      source === undefined ? given : withOverrides(withoutSnapshots(versionOf(template, source).data), given),
  };
  template.latestVersion = version.number;
  template.versions = [...template.versions, version];
  return { template, version };
}

/** The quota is documented (see the setting); the error's code and text are not, and nobody may depend on them. */
function assertRoom(state: Ec2State, template: LaunchTemplate): void {
  const most = state.settings.launchTemplateVersions;
  if (template.versions.length < most) return;
  throw new AwsError(
    "LaunchTemplateVersionLimitExceeded",
    `The launch template ${template.id} has reached its limit of ${most} versions.`,
  );
}

/**
 * EC2 API reference, CreateLaunchTemplateVersion, SourceVersion: "Snapshots applied to the block device mapping are
 * ignored when creating a new version unless they are explicitly included."
 */
function withoutSnapshots(data: TemplateData): TemplateData {
  const isSnapshot = (key: string): boolean => /^BlockDeviceMapping\.\d+\.Ebs\.SnapshotId$/.test(key);
  return Object.fromEntries(Object.entries(data).filter(([key]) => !isSnapshot(key)));
}

/**
 * EC2 API reference, ValidationWarning: parameters that are not valid are reported, and the version is created. Only the
 * image is looked at here.
 */
function warningFor(state: Ec2State, call: Call, data: TemplateData): Record<string, unknown> | undefined {
  const imageId = data["ImageId"];
  if (imageId === undefined || imageId.startsWith("resolve:ssm:")) return undefined;
  if (seenImage(state, call, imageId) !== undefined) return undefined;
  const error = { code: "InvalidAMIID.NotFound", message: `The image id '[${imageId}]' does not exist` };
  return { errorSet: { item: [error] } };
}

function modifyTemplate(state: Ec2State, call: Call): LaunchTemplate {
  const template = targetTemplate(state, call);
  const version = call.query.string("SetDefaultVersion") ?? call.query.string("DefaultVersion");
  if (version === undefined) {
    throw new AwsError("MissingParameter", "The request must contain the parameter SetDefaultVersion");
  }
  template.defaultVersion = versionOf(template, version).number;
  return template;
}

/** EC2 API reference, DeleteLaunchTemplateVersions: what cannot be deleted is listed in an answer that succeeds. */
function deleteVersions(state: Ec2State, call: Call): Record<string, unknown> {
  const template = targetTemplate(state, call);
  const texts = call.query.strings("LaunchTemplateVersion");
  if (texts.length === 0 || texts.length > 200) {
    throw new AwsError("InvalidParameterValue", "Between 1 and 200 launch template versions can be deleted");
  }
  const { id: launchTemplateId, name: launchTemplateName } = template;
  const results = texts.map((text) => ({
    launchTemplateId,
    launchTemplateName,
    versionNumber: Number(text),
    responseError: deleteVersion(template, Number(text)),
  }));
  const { deleted = [], refused = [] } = Object.groupBy(results, ({ responseError }) =>
    responseError === undefined ? "deleted" : "refused",
  );
  return {
    successfullyDeletedLaunchTemplateVersionSet: { item: deleted },
    unsuccessfullyDeletedLaunchTemplateVersionSet: { item: refused },
  };
}

function deleteVersion(template: LaunchTemplate, number: number): Record<string, string> | undefined {
  if (!template.versions.some((version) => version.number === number)) {
    const message = `Could not find the specified version ${number} for the launch template with ID ${template.id}.`;
    return { code: "launchTemplateVersionDoesNotExist", message };
  }
  if (number === template.defaultVersion) {
    const message =
      "Cannot delete the default version of a launch template; make another version the default first.";
    return { code: "unexpectedError", message };
  }
  template.versions = template.versions.filter((version) => version.number !== number);
  return undefined;
}
