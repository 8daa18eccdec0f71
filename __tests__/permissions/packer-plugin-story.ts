import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AuthorizeSecurityGroupIngressCommand,
  CreateImageCommand,
  CreateKeyPairCommand,
  CreateSecurityGroupCommand,
  DescribeInstanceTypeOfferingsCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  EC2Client,
  type ResourceType,
  RunInstancesCommand,
  StopInstancesCommand,
} from "@aws-sdk/client-ec2";
import { HOME, type Sandbox, startSandbox } from "../../sandbox/sandbox.ts";
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

/**
 * What Packer's Amazon plugin of today asks for besides Packer 1.6.6, which is the one that runs here: it tags what it makes
 * when it makes it, the AMI with the instance's tags, and looks for a subnet (hashicorp/packer-plugin-amazon,
 * step_key_pair.go, step_security_group.go, step_run_source_instance.go, step_create_ami.go, step_network_info.go).
 */
export const PACKER_PLUGIN_STORIES: readonly Story[] = ["bake", "deploy", "deploy-across-accounts"].map(
  (policy) => {
    const name = `bake with Packer's plugin of today (${policy})`;
    return { name, play: (change) => play(name, changed({ [DEPLOYER]: given([policy]) }, change)) };
  },
);

async function play(name: string, grants: Grants): Promise<Played> {
  const folder = await mkdtemp(join(tmpdir(), "kiln-plugin-"));
  const sandbox = await startSandbox({ folder, speed: 0, ssh: false });
  try {
    grant(sandbox, grants);
    const problem = await bake(sandbox).then(() => undefined, String);
    return { problem, text: problem ?? "", records: recorded(sandbox, 0, grants, name) };
  } finally {
    await sandbox.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const NAME = "packer_6b01afa5-b2fd-e41c-794e-05af0f4e3c54";

async function bake(sandbox: Sandbox): Promise<void> {
  const { AWS_ACCESS_KEY_ID: accessKeyId = "", AWS_ENDPOINT_URL: endpoint = "" } = sandbox.environment();
  const ec2 = new EC2Client({
    region: HOME.region,
    endpoint,
    credentials: { accessKeyId, secretAccessKey: "sandbox" },
  });
  const tags = (...kinds: readonly ResourceType[]) =>
    kinds.map((ResourceType) => ({ ResourceType, Tags: [{ Key: "Name", Value: "bake of web" }] }));
  const base = sandbox.ec2.addImage(HOME, { name: "base" });
  await ec2.send(new DescribeVpcsCommand({}));
  await ec2.send(new DescribeSubnetsCommand({}));
  await ec2.send(new DescribeInstanceTypeOfferingsCommand({ LocationType: "availability-zone" }));
  await ec2.send(new CreateKeyPairCommand({ KeyName: NAME, TagSpecifications: tags("key-pair") }));
  const { GroupId = "" } = await ec2.send(
    new CreateSecurityGroupCommand({
      GroupName: NAME,
      Description: "t",
      TagSpecifications: tags("security-group"),
    }),
  );
  const ssh = { IpProtocol: "tcp", FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: "0.0.0.0/0" }] };
  await ec2.send(new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions: [ssh] }));
  const { Instances } = await ec2.send(
    new RunInstancesCommand({
      ImageId: base.id,
      InstanceType: "t3.small",
      KeyName: NAME,
      MinCount: 1,
      MaxCount: 1,
      SecurityGroupIds: [GroupId],
      TagSpecifications: tags("instance", "volume", "network-interface"),
    }),
  );
  const InstanceId = Instances?.[0]?.InstanceId ?? "";
  sandbox.clock.advance(60_000);
  await ec2.send(new StopInstancesCommand({ InstanceIds: [InstanceId] }));
  sandbox.clock.advance(60_000);
  const image = { InstanceId, Name: "web-1", TagSpecifications: tags("image", "snapshot") };
  await ec2.send(new CreateImageCommand(image));
}
