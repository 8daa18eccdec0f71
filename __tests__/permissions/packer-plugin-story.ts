import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AttachVolumeCommand,
  AuthorizeSecurityGroupIngressCommand,
  CreateFleetCommand,
  CreateImageCommand,
  CreateKeyPairCommand,
  CreateLaunchTemplateCommand,
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  DeleteLaunchTemplateCommand,
  DescribeInstanceTypeOfferingsCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  DetachVolumeCommand,
  EC2Client,
  type ResourceType,
  RunInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { HOME, type Sandbox, startSandbox } from "../../sandbox/sandbox.ts";
import { findSpotBuild, TEMPLATE_DESCRIPTION } from "../../src/image/sweep-spot.ts";
import {
  changed,
  DEPLOYER,
  given,
  grant,
  type Grants,
  type Played,
  recorded,
  type Story,
} from "./policies.ts";

/** What a bake is of, and the policy that it needs besides. */
interface Builder {
  readonly name: string;
  readonly policies: readonly string[];
  readonly bake: (build: Build) => Promise<void>;
}

const BUILDERS: readonly Builder[] = [
  { name: "amazon-ebs", policies: [], bake: bakeInstance },
  { name: "a Spot Instance", policies: ["bake-spot"], bake: bakeSpot },
  { name: "amazon-ebssurrogate", policies: ["bake-surrogate"], bake: bakeSurrogate },
];

/**
 * What Packer's Amazon plugin of today asks for besides Packer 1.6.6, which is the one that runs here: it tags what it makes
 * when it makes it, the AMI with the instance's tags, and looks for a subnet (hashicorp/packer-plugin-amazon,
 * step_key_pair.go, step_security_group.go, step_run_source_instance.go, step_create_ami.go, step_network_info.go;
 * step_run_spot_instance.go; ebssurrogate/step_swap_volumes.go).
 */
export const PACKER_PLUGIN_STORIES: readonly Story[] = ["bake", "deploy", "deploy-across-accounts"].flatMap(
  (policy) =>
    BUILDERS.map(({ name: builder, policies, bake }) => {
      const name = `bake with Packer's plugin of today: ${builder} (${policy})`;
      const grants = { [DEPLOYER]: given([policy, ...policies]) };
      return { name, play: (change) => play(name, changed(grants, change), bake) };
    }),
);

async function play(name: string, grants: Grants, bake: Builder["bake"]): Promise<Played> {
  const folder = await mkdtemp(join(tmpdir(), "kiln-plugin-"));
  const sandbox = await startSandbox({ folder, speed: 0, ssh: false });
  try {
    grant(sandbox, grants);
    const problem = await begin(sandbox)
      .then(bake)
      .then(() => undefined, String);
    return { problem, text: problem ?? "", records: recorded(sandbox, 0, grants, name) };
  } finally {
    await sandbox.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const NAME = "packer_6b01afa5-b2fd-e41c-794e-05af0f4e3c54";

/** A bake that has its key and its security group. */
interface Build {
  readonly sandbox: Sandbox;
  readonly ec2: EC2Client;
  readonly base: string;
  readonly group: string;
}

const named = [{ Key: "Name", Value: "bake of web" }];
const tags = (...kinds: readonly ResourceType[]) =>
  kinds.map((ResourceType) => ({ ResourceType, Tags: named }));

async function begin(sandbox: Sandbox): Promise<Build> {
  const { AWS_ACCESS_KEY_ID: accessKeyId = "", AWS_ENDPOINT_URL: endpoint = "" } = sandbox.environment();
  const ec2 = new EC2Client({
    region: HOME.region,
    endpoint,
    credentials: { accessKeyId, secretAccessKey: "sandbox" },
  });
  const base = sandbox.ec2.addImage(HOME, { name: "base" });
  await ec2.send(new DescribeVpcsCommand({}));
  await ec2.send(new DescribeSubnetsCommand({}));
  await ec2.send(new DescribeInstanceTypeOfferingsCommand({ LocationType: "availability-zone" }));
  await ec2.send(new CreateKeyPairCommand({ KeyName: NAME, TagSpecifications: tags("key-pair") }));
  const { GroupId: group = "" } = await ec2.send(
    new CreateSecurityGroupCommand({
      GroupName: NAME,
      Description: "t",
      TagSpecifications: tags("security-group"),
    }),
  );
  const ssh = { IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0" }] };
  await ec2.send(new AuthorizeSecurityGroupIngressCommand({ GroupId: group, IpPermissions: [ssh] }));
  return { sandbox, ec2, base: base.id, group };
}

async function launch({ sandbox, ec2, base, group }: Build): Promise<string> {
  const { Instances } = await ec2.send(
    new RunInstancesCommand({
      ImageId: base,
      InstanceType: "t3.small",
      KeyName: NAME,
      MinCount: 1,
      MaxCount: 1,
      SecurityGroupIds: [group],
      BlockDeviceMappings: [{ DeviceName: "/dev/xvdf", Ebs: { VolumeSize: 4 } }],
      TagSpecifications: tags("instance", "volume", "network-interface"),
    }),
  );
  sandbox.clock.advance(60_000);
  const id = Instances?.[0]?.InstanceId ?? "";
  await ec2.send(new StopInstancesCommand({ InstanceIds: [id] }));
  sandbox.clock.advance(60_000);
  return id;
}

async function bakeInstance(build: Build): Promise<void> {
  const InstanceId = await launch(build);
  await createImage(build, InstanceId);
}

async function createImage({ ec2 }: Build, InstanceId: string): Promise<void> {
  const image = { InstanceId, Name: "web-1", TagSpecifications: tags("image", "snapshot") };
  await ec2.send(new CreateImageCommand(image));
}

/** With `spot_tags`, `fleet_tags` and `run_volume_tags`, as docs/iam/README.md asks for the first. */
async function bakeSpot(build: Build): Promise<void> {
  const { ec2, sandbox } = build;
  const tagged = await launchFleet(build, tags("instance", "network-interface", "volume"));
  await ec2.send(new CreateTagsCommand({ Resources: [tagged.instance], Tags: named }));
  const request = sandbox.ec2.instances(HOME).find(({ id }) => id === tagged.instance)?.spotRequestId ?? "";
  await ec2.send(new CreateTagsCommand({ Resources: [request], Tags: named }));
  await createImage(build, tagged.instance);
  // Packer 1.6 tags the instance when it is there. One that was stopped before that is swept up without tags.
  const untagged = await launchFleet(build, []);
  const { templates } = await findSpotBuild(ec2, { mark: "", keyPairs: [NAME] }, []);
  if (templates.length !== 2) throw new Error(`Kiln found ${templates.length} templates of the build`);
  await ec2.send(new TerminateInstancesCommand({ InstanceIds: [untagged.instance] }));
  for (const { template } of [tagged, untagged])
    await ec2.send(new DeleteLaunchTemplateCommand({ LaunchTemplateId: template }));
}

async function launchFleet(
  { sandbox, ec2, base, group }: Build,
  TagSpecifications: ReturnType<typeof tags>,
): Promise<{ readonly instance: string; readonly template: string }> {
  const name = `packer-fleet-launch-template-${TagSpecifications.length}000000`;
  const { LaunchTemplate } = await ec2.send(
    new CreateLaunchTemplateCommand({
      LaunchTemplateName: name,
      VersionDescription: TEMPLATE_DESCRIPTION,
      LaunchTemplateData: { ImageId: base, KeyName: NAME, SecurityGroupIds: [group], TagSpecifications },
      TagSpecifications: tags("launch-template"),
    }),
  );
  const { Instances } = await ec2.send(
    new CreateFleetCommand({
      Type: "instant",
      LaunchTemplateConfigs: [
        {
          LaunchTemplateSpecification: { LaunchTemplateName: name, Version: "1" },
          Overrides: [{ InstanceType: "t3.small" }, { InstanceType: "m5.large" }],
        },
      ],
      TargetCapacitySpecification: { TotalTargetCapacity: 1, DefaultTargetCapacityType: "spot" },
      TagSpecifications: tags("fleet"),
    }),
  );
  sandbox.clock.advance(60_000);
  return {
    instance: Instances?.[0]?.InstanceIds?.[0] ?? "",
    template: LaunchTemplate?.LaunchTemplateId ?? "",
  };
}

/** With `use_create_image`: the surrogate volume takes the root volume's place. */
async function bakeSurrogate(build: Build): Promise<void> {
  const { ec2, sandbox } = build;
  const InstanceId = await launch(build);
  const at = (device: string): string =>
    sandbox.ec2.volumes(HOME).find(({ attachment }) => attachment?.device === device)?.id ?? "";
  const [root, surrogate] = [at("/dev/sda1"), at("/dev/xvdf")];
  for (const VolumeId of [root, surrogate]) await ec2.send(new DetachVolumeCommand({ VolumeId }));
  const back = { InstanceId, VolumeId: surrogate, Device: "/dev/sda1" };
  await ec2.send(new AttachVolumeCommand(back));
  await createImage(build, InstanceId);
}
