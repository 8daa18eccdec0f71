import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { Query } from "../../sandbox/aws/query.ts";
import { ACCESS_KEY, HOME, type Sandbox, startSandbox } from "../../sandbox/sandbox.ts";
import { DEPLOYER, given, type Grants, grant, policy, TARGET_ROLE } from "./policies.ts";

/** What the policies do not allow: what is another application's, and whatever else a leaked key would be used for. */

let folder: string;
let sandbox: Sandbox;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "kiln-narrow-"));
  sandbox = await startSandbox({ folder, speed: 0, ssh: false });
});

afterEach(async () => {
  await sandbox.close();
  await rm(folder, { recursive: true, force: true });
});

const VERSIONS: Readonly<Record<string, string>> = {
  ec2: "2016-11-15",
  autoscaling: "2011-01-01",
  sts: "2011-06-15",
};

/** One request by the wire; returns the code of its error. */
async function ask(
  service: string,
  action: string,
  fields: Readonly<Record<string, string>>,
  region: string = HOME.region,
): Promise<{ readonly code: string | undefined; readonly text: string }> {
  const response = await fetch(sandbox.awsUrl, {
    method: "POST",
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      authorization: `AWS4-HMAC-SHA256 Credential=${ACCESS_KEY}/20260101/${region}/${service}/aws4_request, x`,
    },
    body: new URLSearchParams({ Action: action, Version: VERSIONS[service] ?? "", ...fields }),
  });
  const text = await response.text();
  return { code: /<Code>([^<]+)<\/Code>/.exec(text)?.[1], text };
}

/** Somebody else's things in the same account, and the application's own. */
function others() {
  const { ec2, autoScaling } = sandbox;
  const image = (name: string, tags: Readonly<Record<string, string>>) => ec2.addImage(HOME, { name, tags });
  const own = image("web", { "kiln:application": "web", "kiln:repository": "acme/web" });
  const complete = image("web-complete", { ...own.tags, "kiln:digest": `sha256:${"a".repeat(64)}` });
  const untagged = image("nobody's", {});
  const fork = image("fork", { "kiln:application": "web", "kiln:repository": "acme/fork" });
  const foreign = image("api", { "kiln:application": "api", "kiln:repository": "acme/api" });
  const snapshotOf = ({ blockDevices }: typeof own): string => blockDevices[0]?.snapshotId ?? "";
  const template = (
    name: string,
    application: string,
    data: Readonly<Record<string, string>> = {},
  ): string => {
    const made = ec2.addLaunchTemplate(HOME, name, { ImageId: own.id, InstanceType: "t3.small", ...data });
    made.tags["kiln:application"] = application;
    return made.id;
  };
  const templates = {
    web: template("web", "web"),
    admin: template("admin", "web", { "IamInstanceProfile.Name": "admin" }),
    api: template("api", "api"),
  };
  for (const name of ["web-live", "api-live"]) {
    const launchTemplate = { launchTemplateId: templates.web, version: "1" };
    autoScaling.addGroup({ ...HOME, name, min: 0, max: 4, desired: 1, launchTemplate });
  }
  const instance = (group: string): string => autoScaling.group(group).members[0]?.instanceId ?? "";
  for (const snapshot of ec2.snapshots(HOME))
    if (snapshot.id === snapshotOf(own)) snapshot.tags = { ...own.tags };
    else if (snapshot.id === snapshotOf(complete)) snapshot.tags = { ...complete.tags };
    else if (snapshot.id === snapshotOf(foreign)) snapshot.tags = { ...foreign.tags };
  const call = { ...HOME, requestId: "console" };
  const made = ec2.operations["CreateSecurityGroup"]?.({
    ...call,
    query: new Query([
      ["GroupName", "db"],
      ["GroupDescription", "db"],
    ]),
  });
  const securityGroup = String(made?.["groupId"]);
  for (const group of ec2.securityGroups(HOME)) if (group.id === securityGroup) group.tags["Name"] = "db";
  const volume = ec2.volumes(HOME)[0];
  if (volume !== undefined) volume.tags["Name"] = "db";
  return {
    own: { image: own.id, snapshot: snapshotOf(own), instance: instance("web-live") },
    complete: { image: complete.id, snapshot: snapshotOf(complete) },
    untagged: { image: untagged.id, snapshot: snapshotOf(untagged) },
    fork: { image: fork.id },
    foreign: { image: foreign.id, snapshot: snapshotOf(foreign), instance: instance("api-live") },
    templates,
    securityGroup,
    volume: volume?.id ?? "",
  };
}

type Things = ReturnType<typeof others>;

interface Forbidden {
  readonly what: string;
  readonly policy: string;
  readonly service?: string;
  readonly action: string;
  readonly fields: (things: Things) => Readonly<Record<string, string>>;
  readonly region?: string;
}

const refreshTo = (template: string, group = "web-live"): Readonly<Record<string, string>> => ({
  AutoScalingGroupName: group,
  "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": template,
  "DesiredConfiguration.LaunchTemplate.Version": "1",
});
const run = (
  image: string,
  more: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> => ({
  ImageId: image,
  InstanceType: "t3.small",
  MinCount: "1",
  MaxCount: "1",
  ...more,
});
const NAMED = {
  "TagSpecification.1.ResourceType": "instance",
  "TagSpecification.1.Tag.1.Key": "Name",
  "TagSpecification.1.Tag.1.Value": "bake of web",
};

const FORBIDDEN: readonly Forbidden[] = [
  ...["bake", "deploy", "deploy-across-accounts", "prune"].flatMap((policy): Forbidden[] => [
    {
      what: "removing an image that has no tags",
      policy,
      action: "DeregisterImage",
      fields: ({ untagged }) => ({ ImageId: untagged.image }),
    },
    {
      what: "removing an image of the application's in another repository",
      policy,
      action: "DeregisterImage",
      fields: ({ fork }) => ({ ImageId: fork.image }),
    },
  ]),
  ...["bake", "deploy", "deploy-across-accounts"].map((policy): Forbidden => ({
    what: "deleting a snapshot that has no tags",
    policy,
    action: "DeleteSnapshot",
    fields: ({ untagged }) => ({ SnapshotId: untagged.snapshot }),
  })),
  ...["bake", "deploy", "deploy-across-accounts", "promote", "promote-across-accounts"].map(
    (policy): Forbidden => ({
      what: "taking over an image that another repository made",
      policy,
      action: "CreateTags",
      fields: ({ fork }) => ({
        "ResourceId.1": fork.image,
        "Tag.1.Key": "kiln:application",
        "Tag.1.Value": "web",
        "Tag.2.Key": "kiln:repository",
        "Tag.2.Value": "acme/web",
      }),
    }),
  ),
  {
    what: "ending a production instance",
    policy: "deploy",
    action: "TerminateInstances",
    fields: ({ own }) => ({ "InstanceId.1": own.instance }),
  },
  {
    what: "stopping one",
    policy: "bake",
    action: "StopInstances",
    fields: ({ own }) => ({ "InstanceId.1": own.instance }),
  },
  {
    what: "an image of one",
    policy: "bake",
    action: "CreateImage",
    fields: ({ own }) => ({ InstanceId: own.instance, Name: "stolen" }),
  },
  {
    what: "launching what is no build instance",
    policy: "deploy",
    action: "RunInstances",
    fields: ({ own }) => run(own.image),
  },
  {
    what: "launching in another region",
    policy: "bake",
    action: "RunInstances",
    region: "us-east-1",
    fields: ({ own }) => run(own.image, NAMED),
  },
  {
    what: "launching with another's key",
    policy: "bake",
    action: "RunInstances",
    fields: ({ own }) => run(own.image, { ...NAMED, KeyName: "ops" }),
  },
  {
    what: "launching with a role",
    policy: "bake",
    action: "RunInstances",
    fields: ({ own }) => run(own.image, { ...NAMED, "IamInstanceProfile.Name": "admin" }),
  },
  {
    what: "deregistering another application's image",
    policy: "bake",
    action: "DeregisterImage",
    fields: ({ foreign }) => ({ ImageId: foreign.image }),
  },
  {
    what: "taking back an image that is marked complete",
    policy: "bake",
    action: "DeregisterImage",
    fields: ({ complete }) => ({ ImageId: complete.image }),
  },
  {
    what: "taking one back while releasing",
    policy: "deploy",
    action: "DeregisterImage",
    fields: ({ complete }) => ({ ImageId: complete.image }),
  },
  {
    what: "deleting the snapshot of one",
    policy: "deploy-across-accounts",
    action: "DeleteSnapshot",
    fields: ({ complete }) => ({ SnapshotId: complete.snapshot }),
  },
  {
    what: "pruning another application's image",
    policy: "prune",
    action: "DeregisterImage",
    fields: ({ foreign }) => ({ ImageId: foreign.image }),
  },
  {
    what: "deprecating it",
    policy: "prune",
    action: "EnableImageDeprecation",
    fields: ({ foreign }) => ({ ImageId: foreign.image, DeprecateAt: "2030-01-01T00:00:00Z" }),
  },
  {
    what: "deleting its snapshot",
    policy: "deploy",
    action: "DeleteSnapshot",
    fields: ({ foreign }) => ({ SnapshotId: foreign.snapshot }),
  },
  {
    what: "tags of ours on it",
    policy: "deploy",
    action: "CreateTags",
    fields: ({ foreign }) => ({
      "ResourceId.1": foreign.image,
      "Tag.1.Key": "kiln:application",
      "Tag.1.Value": "web",
      "Tag.2.Key": "kiln:repository",
      "Tag.2.Value": "acme/web",
    }),
  },
  {
    what: "a build instance's name on a production one",
    policy: "deploy",
    action: "CreateTags",
    fields: ({ own }) => ({
      "ResourceId.1": own.instance,
      "Tag.1.Key": "Name",
      "Tag.1.Value": "bake of web",
    }),
  },
  {
    what: "opening the database's security group",
    policy: "bake",
    action: "AuthorizeSecurityGroupIngress",
    fields: ({ securityGroup }) => ({
      GroupId: securityGroup,
      "IpPermissions.1.IpProtocol": "tcp",
      "IpPermissions.1.FromPort": "22",
      "IpPermissions.1.ToPort": "22",
      "IpPermissions.1.IpRanges.1.CidrIp": "0.0.0.0/0",
    }),
  },
  {
    what: "deleting its volume",
    policy: "bake",
    action: "DeleteVolume",
    fields: ({ volume }) => ({ VolumeId: volume }),
  },
  {
    what: "deleting a key pair of people",
    policy: "bake",
    action: "DeleteKeyPair",
    fields: () => ({ KeyName: "ops" }),
  },
  {
    what: "the console of another group's instance",
    policy: "deploy",
    action: "GetConsoleOutput",
    fields: ({ foreign }) => ({ InstanceId: foreign.instance }),
  },
  {
    what: "a version of another application's template",
    policy: "deploy",
    action: "CreateLaunchTemplateVersion",
    fields: ({ templates }) => ({
      LaunchTemplateId: templates.api,
      SourceVersion: "1",
      "LaunchTemplateData.InstanceType": "t3.large",
    }),
  },
  {
    what: "refreshing another group",
    policy: "rollback",
    service: "autoscaling",
    action: "StartInstanceRefresh",
    fields: ({ templates }) => refreshTo(templates.web, "api-live"),
  },
  {
    what: "refreshing to another application's template",
    policy: "promote",
    service: "autoscaling",
    action: "StartInstanceRefresh",
    fields: ({ templates }) => refreshTo(templates.api),
  },
  {
    what: "refreshing to a template with another role",
    policy: "deploy",
    service: "autoscaling",
    action: "StartInstanceRefresh",
    fields: ({ templates }) => refreshTo(templates.admin),
  },
  {
    what: "setting another group's template",
    policy: "deploy",
    service: "autoscaling",
    action: "UpdateAutoScalingGroup",
    fields: ({ templates }) => ({
      AutoScalingGroupName: "api-live",
      "LaunchTemplate.LaunchTemplateId": templates.web,
      "LaunchTemplate.Version": "1",
    }),
  },
  {
    what: "a rollout with the role for status",
    policy: "status",
    service: "autoscaling",
    action: "StartInstanceRefresh",
    fields: ({ templates }) => refreshTo(templates.web),
  },
  {
    what: "becoming another role",
    policy: "promote-across-accounts",
    service: "sts",
    action: "AssumeRole",
    fields: () => ({ RoleArn: "arn:aws:iam::222222222222:role/admin", RoleSessionName: "kiln" }),
  },
  {
    what: "sharing a snapshot with a third account",
    policy: "promote-across-accounts",
    action: "ModifySnapshotAttribute",
    fields: ({ own }) => ({
      SnapshotId: own.snapshot,
      Attribute: "createVolumePermission",
      OperationType: "add",
      "UserId.1": "333333333333",
    }),
  },
];

/** What the additions to `bake` do not allow. */
const WITH_ADDITIONS: readonly Forbidden[] = [
  {
    what: "deleting production's launch template",
    policy: "bake-spot",
    action: "DeleteLaunchTemplate",
    fields: ({ templates }) => ({ LaunchTemplateId: templates.web }),
  },
  {
    what: "a launch template that is no build's",
    policy: "bake-spot",
    action: "CreateLaunchTemplate",
    fields: ({ own }) => ({ LaunchTemplateName: "x-1", "LaunchTemplateData.ImageId": own.image }),
  },
  {
    what: "a fleet of production's launch template",
    policy: "bake-spot",
    action: "CreateFleet",
    fields: ({ templates }) => ({
      Type: "instant",
      "TargetCapacitySpecification.TotalTargetCapacity": "1",
      "LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateId": templates.web,
      "LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version": "1",
    }),
  },
  {
    what: "a build instance's name on a production one",
    policy: "bake-spot",
    action: "CreateTags",
    fields: ({ own }) => ({
      "ResourceId.1": own.instance,
      "Tag.1.Key": "Name",
      "Tag.1.Value": "bake of web",
    }),
  },
  {
    what: "ending a production instance",
    policy: "bake-spot",
    action: "TerminateInstances",
    fields: ({ own }) => ({ "InstanceId.1": own.instance }),
  },
  {
    what: "a snapshot of the database's volume",
    policy: "bake-surrogate",
    action: "CreateSnapshot",
    fields: ({ volume }) => ({
      VolumeId: volume,
      "TagSpecification.1.ResourceType": "snapshot",
      "TagSpecification.1.Tag.1.Key": "kiln:application",
      "TagSpecification.1.Tag.1.Value": "web",
      "TagSpecification.1.Tag.2.Key": "kiln:repository",
      "TagSpecification.1.Tag.2.Value": "acme/web",
    }),
  },
  {
    what: "detaching it",
    policy: "bake-surrogate",
    action: "DetachVolume",
    fields: ({ volume }) => ({ VolumeId: volume }),
  },
  {
    what: "an image of another application's snapshot",
    policy: "bake-surrogate",
    action: "RegisterImage",
    fields: ({ foreign }) => ({
      Name: "stolen",
      "BlockDeviceMapping.1.DeviceName": "/dev/xvda",
      "BlockDeviceMapping.1.Ebs.SnapshotId": foreign.snapshot,
    }),
  },
];

const DENIALS = ["UnauthorizedOperation", "AccessDenied"];

describe("not allowed", () => {
  let denied = 0;

  test.each([...FORBIDDEN, ...WITH_ADDITIONS])(
    "by $policy: $what",
    async ({ policy: name, service = "ec2", action, fields, region }) => {
      const asked = fields(others());
      const isAddition = WITH_ADDITIONS.some((each) => each.policy === name);
      grant(sandbox, { [DEPLOYER]: given(isAddition ? ["bake", name] : [name]) });
      const { code, text } = await ask(service, action, asked, region);
      expect(DENIALS, text).toContain(code);
      // It is the policy that forbids it: without one, AWS would carry it out, or refuse it for another reason.
      sandbox.iam.setPolicies(DEPLOYER, undefined);
      expect(DENIALS).not.toContain((await ask(service, action, asked, region)).code);
      denied += 1;
    },
  );

  afterAll(() => {
    process.stdout.write(
      `${FORBIDDEN.length + WITH_ADDITIONS.length} requests that leave a policy's bounds, ${denied} denied\n`,
    );
  });
});

describe("the trust policies", () => {
  const assume = (tags: Readonly<Record<string, string>> = { "kiln:repository": "acme/web" }) =>
    ask("sts", "AssumeRole", {
      RoleArn: TARGET_ROLE,
      RoleSessionName: "kiln",
      ...Object.fromEntries(
        Object.entries(tags).flatMap(([key, value], index) => [
          [`Tags.member.${index + 1}.Key`, key],
          [`Tags.member.${index + 1}.Value`, value],
        ]),
      ),
    });
  const grants: Grants = { [DEPLOYER]: given(["promote-across-accounts"]) };

  test("of the target's role lets the deployer in for this repository only", async () => {
    grant(sandbox, grants);
    expect((await assume()).code).toBeUndefined();
    expect((await assume({ "kiln:repository": "acme/fork" })).code).toBe("AccessDenied");
    expect((await assume({})).code).toBe("AccessDenied");
    const account = sandbox.accounts[ACCESS_KEY];
    if (account !== undefined) account.role = { name: "another", session: "run" };
    const refused = await assume();
    expect(refused.text).toContain("assumed-role/another/run is not authorized to perform: sts:AssumeRole");
  });

  test("of the target's role, without its statement, lets nobody in", async () => {
    grant(sandbox, grants);
    sandbox.iam.setTrust(TARGET_ROLE, { ...policy("target-account-trust"), Statement: [] });
    expect((await assume()).code).toBe("AccessDenied");
  });

  test.each([
    ["a push to main", { ref: "refs/heads/main" }, undefined],
    ["a push to another branch", { ref: "refs/heads/feature" }, "AccessDenied"],
    ["a pull request", { ref: "refs/pull/7/merge", event: "pull_request" }, "AccessDenied"],
  ])("of the deployer: %s", async (_, job, code) => {
    sandbox.iam.setTrust(DEPLOYER, policy("trust"));
    expect((await withToken(job)).code).toBe(code);
    sandbox.iam.setTrust(DEPLOYER, { ...policy("trust"), Statement: [] });
    expect((await withToken(job)).code).toBe("AccessDenied");
  });

  async function withToken(job: { readonly ref: string; readonly event?: string }) {
    const env = sandbox.oidcEnvironment(job);
    const url = `${env["ACTIONS_ID_TOKEN_REQUEST_URL"] ?? ""}&audience=sts.amazonaws.com`;
    const headers = { authorization: `Bearer ${env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] ?? ""}` };
    const { value } = (await (await fetch(url, { headers })).json()) as { readonly value: string };
    return ask("sts", "AssumeRoleWithWebIdentity", {
      RoleArn: DEPLOYER,
      RoleSessionName: "kiln",
      WebIdentityToken: value,
    });
  }
});
