import { targetName } from "../domain/application.ts";
import { isImageId, TAG } from "../domain/image.ts";
import { findByIds } from "../image/catalogue.ts";
import type { LedgerPage } from "../release/ledger.ts";
import { DESCRIPTION_PREFIX } from "../rollout/launch-template.ts";
import type { Finding } from "../rollout/preflight.ts";
import type { TargetState } from "../rollout/target-state.ts";
import type { Ports } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";

/**
 * Whether a release would overwrite another repository's, or another application's, on a target: two of them that share a
 * group by mistake see neither each other's locks nor records. One request more, only where Kiln made what the group
 * launches from and no record here names its image. No more than a warning: a repository may have been renamed.
 */
export async function overwritten(
  { target, template }: TargetState,
  pages: ReadonlyMap<string, LedgerPage>,
  { request: { application, run } }: ReleaseOrder,
  ports: Ports,
): Promise<readonly Finding[]> {
  const { imageId, description } = template;
  const { region } = target;
  if (imageId === undefined || !isImageId(imageId)) return [];
  if (description?.startsWith(DESCRIPTION_PREFIX) !== true) return [];
  const records = [...pages.values()].flatMap((page) => page.records);
  if (records.some(({ images }) => images[region] === imageId)) return [];
  const image = (await findByIds(await ports.aws.ec2(region), region, [imageId])).get(imageId);
  const { [TAG.repository]: repository = run.repository, [TAG.application]: name = application.name } =
    image?.tags ?? {};
  if (repository === run.repository && name === application.name) return [];
  return [
    {
      fatal: false,
      message: `${targetName(target)}: it runs ${imageId}, which ${repository} released as application ${name}: this release overwrites that one, and neither waits for the other`,
      remedy:
        "Give each repository groups of its own. Where this one was renamed, or takes the group over, there is nothing to do.",
    },
  ];
}
