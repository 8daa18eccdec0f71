import { expect, test } from "vitest";
import { withMiddleware } from "../../src/aws/middleware.ts";
import type { ImageId } from "../../src/domain/image.ts";
import { describeImage } from "../../src/image/catalogue.ts";
import { shareWith } from "../../src/image/sharing.ts";
import { home, other, setStage, type Stage } from "../sandbox/ec2-stage.ts";

/** An image is shared a moment after it was made, when EC2 does not know it everywhere. */

async function opened(): Promise<{ stage: Stage; share: () => Promise<boolean>; waits: number[] }> {
  const stage = await setStage();
  const ec2 = withMiddleware(stage.ec2);
  const { id } = stage.world.addImage(home, { name: "web-1" });
  const image = await describeImage(ec2, home.region, id as ImageId);
  if (image === undefined) throw new Error("no image");
  const waits: number[] = [];
  const clock = {
    now: () => stage.clock.date(),
    sleep: async (milliseconds: number) => {
      waits.push(milliseconds);
      stage.clock.advance(milliseconds);
    },
  };
  const { signal } = new AbortController();
  return { stage, waits, share: () => shareWith(ec2, image, other.accountId, { clock, signal }) };
}

test.each([
  ["DescribeImageAttribute", "InvalidAMIID.NotFound"],
  ["ModifySnapshotAttribute", "InvalidSnapshot.NotFound"],
  ["ModifyImageAttribute", "InvalidAMIID.NotFound"],
  ["ModifyImageAttribute", "InvalidAMIID.Unavailable"],
])("%s that answers %s is made again", async (action, code) => {
  const { stage, share, waits } = await opened();
  const reply = { kind: "reply", status: 400, code, message: "It does not exist" } as const;
  stage.faults.inject({ action }, reply);
  stage.faults.inject({ action }, reply);
  expect(await share()).toBe(true);
  expect(waits).toEqual([2000, 3000]);
  expect(stage.world.images(home)[0]?.launchPermissions).toEqual([{ userId: other.accountId }]);
  expect(stage.world.snapshots(home)[0]?.createVolumePermissions).toEqual([other.accountId]);
});

test("what stays unknown is an error after five minutes", async () => {
  const { stage, share, waits } = await opened();
  for (let times = 0; times < 60; times += 1) {
    stage.faults.inject(
      { action: "ModifyImageAttribute" },
      { kind: "reply", status: 400, code: "InvalidAMIID.NotFound", message: "It does not exist" },
    );
  }
  await expect(share()).rejects.toThrow("could not be shared with account");
  expect(waits.reduce((sum, wait) => sum + wait, 0)).toBeLessThanOrEqual(300_000);
});

test("another refusal is one at once", async () => {
  const { stage, share, waits } = await opened();
  stage.faults.inject(
    { action: "ModifySnapshotAttribute" },
    { kind: "reply", status: 400, code: "InvalidParameter", message: "aws/ebs" },
  );
  await expect(share()).rejects.toThrow("could not be shared with account");
  expect(waits).toEqual([]);
});
