import { HOME } from "../../sandbox/sandbox.ts";
import { type Pruned, PruneStage } from "../commands/prune-stage.ts";
import { DEPLOYER, given, type Granted, grant, type Recorded, recorded } from "./policies.ts";

/** The whole life of images that nothing needs any more, and of one that is needed again. */

export interface PruneSeen {
  readonly text: string;
  readonly records: readonly Recorded[];
}

/** Plays it under exactly this policy. */
export async function playPrune(policies: readonly Granted[] = given(["prune"])): Promise<PruneSeen> {
  await using stage = await PruneStage.open();
  const first = stage.image("web-first", 90);
  const [old, current] = [stage.image("web-old", 60), stage.image("web-current", 30)];
  const other = stage.image("web-other", 80);
  tagSnapshots(stage);
  stage.environment("production", current);
  stage.record("production", 1, { [HOME.region]: current });
  const grants = { [DEPLOYER]: policies };
  grant(stage.sandbox, grants);
  const settings = { keep: 1, grace: 2 * 86_400_000 };
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
  return { text: said.join("\n"), records: recorded(stage.sandbox, 0, grants, "prune over days") };
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
