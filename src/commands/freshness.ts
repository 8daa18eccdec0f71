import type { ImageId } from "../domain/image.ts";
import {
  type BaseImage,
  describeBase,
  describeFreshness,
  type FoundBase,
  newerBase,
} from "../image/base-image.ts";
import type { Ports } from "./ports.ts";

/**
 * How old a base image is, and whether its publisher has a newer one, in words; undefined where nothing is known of it.
 * @param known the base image, where it was read already
 */
export async function freshnessOf(
  id: ImageId,
  region: string,
  ports: Pick<Ports, "aws" | "clock" | "log">,
  known?: BaseImage,
): Promise<string | undefined> {
  const ec2 = await ports.aws.ec2(region);
  const base: FoundBase =
    known === undefined ? await describeBase(ec2, region, id) : { kind: "found", image: known };
  const now = ports.clock.now();
  const newer =
    base.kind === "found"
      ? await newerBase(ec2, base.image, now)
      : ({ kind: "unknown", why: "there is no base image to compare with" } as const);
  if (newer.kind === "unknown") ports.log.debug(`Whether ${id} is the newest of its kind: ${newer.why}`);
  return describeFreshness(base, newer, now);
}
