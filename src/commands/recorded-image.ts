import { GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import { KilnError } from "../domain/errors.ts";
import { formatReleaseTag } from "../domain/release-tag.ts";
import { describeImage } from "../image/catalogue.ts";
import { whyNotLaunchable } from "../image/trust.ts";
import type { ReleaseRecord } from "../release/record.ts";
import { publishImage } from "./image.ts";
import type { Ports } from "./ports.ts";
import type { ImageSource } from "./release-order.ts";

/** The account that the credentials are for: the one whose images are trusted. */
export async function ownAccount(region: string, ports: Ports): Promise<string> {
  const sts = await ports.aws.sts(region);
  const { Account } = await sts.send(new GetCallerIdentityCommand({}));
  return Account ?? "";
}

/** The image that a record names, after its owner and digest were checked: never a bake. */
export function recordedImage(record: ReleaseRecord, region: string, ports: Ports): ImageSource {
  const name = formatReleaseTag(record.tag);
  return {
    async choose() {
      const id = record.images[region];
      if (id === undefined) {
        throw new KilnError(`${name} has no image in ${region}`, {
          state: `Nothing was changed. It has ${Object.entries(record.images)
            .map(([place, ami]) => `${place} ${ami}`)
            .join(", ")}.`,
          next: "Choose a release that was made for this region.",
        });
      }
      const ec2 = await ports.aws.ec2(region);
      const [image, account] = await Promise.all([describeImage(ec2, region, id), ownAccount(region, ports)]);
      const why = whyNotLaunchable(image, { digest: record.imageDigest, account });
      if (image === undefined || why !== undefined) {
        throw new KilnError(`${id}, the image of ${name}, cannot be launched in ${region}: ${why ?? "?"}`, {
          state: "Nothing was changed.",
          next: "Choose another release; if you did not expect this, find out who made that tag or changed the image.",
        });
      }
      return { kind: "reuse", image, why: `is the image of ${name}` };
    },
    prepare: async () => undefined,
    async obtain(choice) {
      if (choice.kind !== "reuse") throw new Error("a recorded image is never baked");
      publishImage(choice.image, false, record.imageDigest, ports);
      return choice.image;
    },
  };
}
