import { Query } from "../../sandbox/aws/query.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import type { Environment, RolloutSettings, Target } from "../../src/domain/application.ts";
import { VERSIONS_KEPT } from "../../src/rollout/template-retention.ts";
import { type Released, type ReleaseOptions, ReleaseStage } from "../rollouts/release-stage.ts";
import {
  changed,
  DEPLOYER,
  given,
  grant,
  type Grants,
  inEveryRegion,
  type Played,
  recorded,
  type Story,
  TARGET_ACCOUNT,
  TARGET_ROLE,
} from "./policies.ts";

/** Releases on virtual time that need, together, all that a rollout may need. */

const ROLLING: RolloutSettings = { strategy: "rolling" };
const AWAY = "us-east-1";

interface RolloutStory {
  readonly name: string;
  /** In the targets' account instead of the one that bakes. */
  readonly across?: true;
  /** It copies the image. */
  readonly copies?: true;
  /** It needs the policies of a key as well. */
  readonly key?: true;
  /** It ends red, as it should. */
  readonly fails?: true;
  readonly play: (stage: ReleaseStage, place: typeof HOME) => Promise<Released>;
}

/** As somebody's Terraform makes a group, its template tagged as docs/iam/README.md asks. */
function addGroup(
  stage: ReleaseStage,
  place: typeof HOME,
  data: Readonly<Record<string, string>> = {},
  name = "web-live",
): string {
  const { ec2, autoScaling } = stage.sandbox;
  const old = data["ImageId"] ?? stage.addImage(place, `old-${name}-${place.region}`);
  const template = ec2.addLaunchTemplate(place, name, { InstanceType: "t3.small", ...data, ImageId: old });
  template.tags["kiln:application"] = "web";
  autoScaling.addGroup({
    ...place,
    name,
    min: 0,
    max: 8,
    desired: 2,
    defaultInstanceWarmup: 60,
    healthCheckGracePeriod: 30,
    healthCheckType: "ELB",
    targetGroupArns: [
      `arn:aws:elasticloadbalancing:${place.region}:${place.accountId}:targetgroup/${name}/0123456789abcdef`,
    ],
    launchTemplate: { launchTemplateId: template.id, version: "1" },
  });
  return template.id;
}

const target = (region: string = HOME.region): Target => ({ region, autoScalingGroup: "web-live" });

function releaseTo(
  stage: ReleaseStage,
  place: typeof HOME,
  rollout: RolloutSettings = ROLLING,
  options: ReleaseOptions = {},
  targets: readonly Target[] = [target()],
): Promise<Released> {
  const role: Partial<Environment> = place.accountId === HOME.accountId ? {} : { roleToAssume: TARGET_ROLE };
  return stage.release(targets, rollout, { ...options, environment: { ...role, ...options.environment } });
}

const SMOKE: RolloutSettings = { ...ROLLING, smokeTest: { command: ["t"], timeout: 60 } };

const ROLLOUTS: readonly RolloutStory[] = [
  {
    name: "a release with an alarm and a smoke test",
    async play(stage, place) {
      addGroup(stage, place);
      stage.sandbox.autoScaling.setAlarm("web-5xx", "OK");
      return releaseTo(stage, place, { ...SMOKE, alarms: ["web-5xx"] }, { test: { code: 0 } });
    },
  },
  {
    name: "a release whose instances never become healthy, and why",
    fails: true,
    async play(stage, place) {
      addGroup(stage, place);
      stage.setHealth({ [stage.newImage]: { healthyAfter: "never" } });
      return releaseTo(stage, place);
    },
  },
  {
    name: "a smoke test that fails while the refresh goes on: AWS rolls it back",
    fails: true,
    async play(stage, place) {
      addGroup(stage, place);
      return releaseTo(stage, place, { ...SMOKE, bakeTime: 600 }, { test: { code: 1 } });
    },
  },
  {
    name: "the same where AWS cannot roll back",
    fails: true,
    async play(stage, place) {
      addGroup(stage, place);
      stage.sandbox.faults.inject(
        { action: "RollbackInstanceRefresh" },
        { kind: "reply", status: 400, code: "IrreversibleInstanceRefresh", message: "It cannot be." },
      );
      return releaseTo(stage, place, { ...SMOKE, bakeTime: 600 }, { test: { code: 1 } });
    },
  },
  {
    name: "a template with an alias for an image, which is pinned",
    async play(stage, place) {
      stage.sandbox.ec2.setParameter("/web/ami", stage.addImage(place, "old-alias"));
      addGroup(stage, place, { ImageId: "resolve:ssm:/web/ami" });
      return releaseTo(stage, place);
    },
  },
  {
    name: "a template with a role, a key and tags",
    async play(stage, place) {
      const call = { ...place, requestId: "console" };
      stage.sandbox.ec2.operations["CreateKeyPair"]?.({ ...call, query: new Query([["KeyName", "ops"]]) });
      addGroup(stage, place, {
        KeyName: "ops",
        "IamInstanceProfile.Name": "web-instance",
        ...tagSpecification(1, "instance"),
        ...tagSpecification(2, "volume"),
        ...tagSpecification(3, "network-interface"),
      });
      return releaseTo(stage, place);
    },
  },
  {
    name: "a template with hundreds of versions, the old ones of which go",
    async play(stage, place) {
      const template = addGroup(stage, place);
      const [first] = stage.sandbox.ec2.launchTemplateVersions(template);
      for (let version = 2; version <= VERSIONS_KEPT + 4; version += 1)
        stage.sandbox.ec2.addLaunchTemplateVersion(template, first?.data ?? {}, `Kiln: web ${version}`);
      return releaseTo(stage, place);
    },
  },
];

function tagSpecification(number: number, kind: string): Readonly<Record<string, string>> {
  const prefix = `TagSpecification.${number}`;
  return {
    [`${prefix}.ResourceType`]: kind,
    [`${prefix}.Tag.1.Key`]: "team",
    [`${prefix}.Tag.1.Value`]: "web",
  };
}

const COPIES: readonly RolloutStory[] = [
  {
    name: "targets in two regions, to the second of which the image is copied",
    copies: true,
    async play(stage, place) {
      const away = { ...place, region: AWAY };
      addGroup(stage, place);
      addGroup(stage, away);
      return releaseTo(stage, place, ROLLING, {}, [target(), target(AWAY)]);
    },
  },
];

const KEY = "arn:aws:kms:eu-west-1:111111111111:key/12345678-1234-1234-1234-123456789012";

const ENCRYPTED: RolloutStory = {
  name: "a target with a key of its own",
  copies: true,
  key: true,
  async play(stage, place) {
    addGroup(stage, place);
    return releaseTo(stage, place, ROLLING, {}, [{ ...target(), kmsKey: KEY }]);
  },
};

const STORIES: readonly RolloutStory[] = [
  ...ROLLOUTS,
  ...ROLLOUTS.map((story): RolloutStory => ({
    ...story,
    name: `${story.name}, across accounts`,
    across: true,
  })),
  ...COPIES,
  ...COPIES.map((story): RolloutStory => ({
    ...story,
    name: `${story.name}, across accounts`,
    across: true,
  })),
  ENCRYPTED,
];

/** What the roles of a story have. */
function grantsOf(story: RolloutStory): Grants {
  const where = story.copies === true && story.key !== true ? inEveryRegion : undefined;
  if (story.across === true) {
    return {
      [DEPLOYER]: given(["promote-across-accounts"], where),
      [TARGET_ROLE]: given(["target-account"], where),
    };
  }
  const home = given([story.copies === true ? "promote" : "rollback"], where);
  return { [DEPLOYER]: [...home, ...given(story.key === true ? ["kms-key"] : [])] };
}

/** What is to be seen of a release is its end and every line of its log, the same for the same story. */
async function play(story: RolloutStory, grants: Grants): Promise<Played> {
  await using stage = await ReleaseStage.open();
  const place = story.across === true ? { ...HOME, accountId: TARGET_ACCOUNT } : HOME;
  const image = stage.sandbox.ec2.images(HOME).find(({ id }) => id === stage.newImage);
  if (image !== undefined) makeOurs(stage, image);
  grant(stage.sandbox, grants);
  const { error, log, took } = await story.play(stage, place);
  const lines = [...described(error), ...log, `${took} ms`, ...stage.records(), ...stage.locks()];
  const text = withoutRequestIds(lines.join("\n"));
  const isAsItShould = (error === undefined) === (story.fails !== true) && !text.includes("may not do");
  return {
    problem: isAsItShould ? undefined : text,
    text,
    records: recorded(stage.sandbox, 0, grants, story.name),
  };
}

export const ROLLOUT_STORIES: readonly Story[] = STORIES.map((story) => ({
  name: story.name,
  play: (change) => play(story, changed(grantsOf(story), change)),
}));

/** Tags as a bake leaves them, on the image and its snapshots. */
function makeOurs(stage: ReleaseStage, image: ReturnType<typeof stage.sandbox.ec2.images>[number]): void {
  image.tags["kiln:repository"] = "acme/web";
  const ids = new Set(image.blockDevices.map(({ snapshotId }) => snapshotId));
  for (const snapshot of stage.sandbox.ec2.snapshots(HOME))
    if (ids.has(snapshot.id)) snapshot.tags = { ...image.tags };
}

function described(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { message, state, next } = error as Error & { readonly state?: string; readonly next?: string };
  return [message, state ?? "", next ?? ""];
}

/** What is random in AWS's answers. */
function withoutRequestIds(text: string): string {
  return text
    .replace(/request [0-9a-f-]{36}/g, "request …")
    .replace(/(failure message: )[\w-]+/g, "$1…")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "…")
    .replace(/commit [0-9a-f]{12}/g, "commit …");
}
