import { HOME } from "../../sandbox/sandbox.ts";
import { type Pruned, PruneStage } from "../commands/prune-stage.ts";
import { DAY } from "../image/stored-images.ts";
import {
  changed,
  DEPLOYER,
  given,
  grant,
  type Grants,
  type Played,
  type Recorded,
  recorded,
  type Story,
  TARGET_ACCOUNT,
  TARGET_ROLE,
  withTheTargetsRole,
} from "./policies.ts";

/** The whole life of images that nothing needs any more, and of one that is needed again. */

/** What would be pruned, under the policy for plans. */
async function planPrune(grants: Grants): Promise<Played> {
  await using stage = await PruneStage.open();
  stage.image("web-old", 60);
  const current = stage.image("web-current", 30);
  stage.environment("production", current);
  stage.record("production", 1, { [HOME.region]: current });
  grant(stage.sandbox, grants);
  const pruned = await stage.prune({ dryRun: true, settings: { keep: 1, minAge: 0, grace: 2 * DAY } });
  const text = seen(pruned, stage).join("\n");
  return played(text, /to be deprecated/, recorded(stage.sandbox, 0, grants, PLAN));
}

/** Deprecated, needed again, needed no more, and gone. */
async function playPrune(grants: Grants): Promise<Played> {
  await using stage = await PruneStage.open();
  const first = stage.image("web-first", 90);
  const [old, current] = [stage.image("web-old", 60), stage.image("web-current", 30)];
  const other = stage.image("web-other", 80);
  tagSnapshots(stage);
  stage.environment("production", current);
  stage.record("production", 1, { [HOME.region]: current });
  grant(stage.sandbox, grants);
  const settings = { keep: 1, minAge: 0, grace: 2 * DAY };
  const said: string[] = [];
  const prune = async (): Promise<void> => {
    said.push(...seen(await stage.prune({ settings }), stage));
  };
  await prune();
  // A rollback needs the old one again, and protects it; the first one's time comes.
  stage.record("production", 2, { [HOME.region]: old });
  stage.pass(3);
  await prune();
  // And now it is needed no more: its protection goes.
  stage.record("production", 3, { [HOME.region]: current });
  stage.record("production", 4, { [HOME.region]: current });
  stage.pass(3);
  await prune();
  said.push([first, old, current, other].filter((id) => stage.left().includes(id)).join(" "));
  return played(said.join("\n"), /DeregisterImage/, recorded(stage.sandbox, 0, grants, DAYS));
}

/** The same where a target is in another account: whether an image is launched is asked there too. */
async function playPruneAcross(grants: Grants): Promise<Played> {
  await using stage = await PruneStage.open();
  const [old, current] = [stage.image("web-old", 60), stage.image("web-current", 30)];
  const away = { ...HOME, accountId: TARGET_ACCOUNT };
  const data = { ImageId: current, InstanceType: "t3.small" };
  const image = stage.sandbox.ec2.images(HOME).find(({ id }) => id === current);
  if (image !== undefined) image.launchPermissions = [{ userId: TARGET_ACCOUNT }];
  const template = stage.sandbox.ec2.addLaunchTemplate(away, "web", data);
  const launchTemplate = { launchTemplateId: template.id, version: "1" };
  stage.sandbox.autoScaling.addGroup({
    ...away,
    name: "web-live",
    min: 0,
    max: 2,
    desired: 1,
    launchTemplate,
  });
  stage.target("production", { region: HOME.region, autoScalingGroup: "web-live" }, TARGET_ROLE);
  stage.record("production", 1, { [HOME.region]: current });
  grant(stage.sandbox, grants);
  const pruned = await stage.prune({ settings: { keep: 1, minAge: 0, grace: 2 * DAY } });
  const text = [...seen(pruned, stage), ...stage.deprecated().map((id) => (id === old ? "deprecated" : id))];
  return played(text.join("\n"), /deprecated$/, recorded(stage.sandbox, 0, grants, ACROSS));
}

const [PLAN, DAYS, ACROSS] = ["plan of a prune of old images", "prune over days", "prune across accounts"];

export const PRUNE_STORIES: readonly Story[] = [
  { name: PLAN, play: (change) => planPrune(changed({ [DEPLOYER]: given(["plan"]) }, change)) },
  { name: DAYS, play: (change) => playPrune(changed({ [DEPLOYER]: given(["prune"]) }, change)) },
  {
    name: ACROSS,
    play: (change) =>
      playPruneAcross(
        changed({ [DEPLOYER]: withTheTargetsRole("prune"), [TARGET_ROLE]: given(["plan"]) }, change),
      ),
  },
];

function played(text: string, wanted: RegExp, records: readonly Recorded[]): Played {
  const isAsItShould = wanted.test(text) && !/may not do|could not|left/.test(text);
  return { problem: isAsItShould ? undefined : text, text, records };
}

function seen({ error, log, facts, writes }: Pruned, stage: PruneStage): string[] {
  const fates = (facts.prune?.images ?? []).map(
    ({ imageId, action, failed }) => `${imageId} ${action} ${failed ?? ""}`,
  );
  return [
    error instanceof Error ? error.message : "",
    ...log,
    ...fates,
    ...writes,
    `${stage.sandbox.ec2.snapshots(HOME).length}`,
  ];
}

function tagSnapshots({ sandbox: { ec2 } }: PruneStage): void {
  for (const image of ec2.images(HOME)) {
    const ids = new Set(image.blockDevices.map(({ snapshotId }) => snapshotId));
    for (const snapshot of ec2.snapshots(HOME)) if (ids.has(snapshot.id)) snapshot.tags = { ...image.tags };
  }
}
