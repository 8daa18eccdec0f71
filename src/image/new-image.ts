import type { AwsClients } from "../aws/clients.ts";
import { CancelledError, KilnError, RemoteError } from "../domain/errors.ts";
import { type ImageId, TAG } from "../domain/image.ts";
import { bake, NameTakenError } from "./bake.ts";
import type { Baked, BakeOrder, BakeReady, BakeTools } from "./bake-order.ts";
import type { Ended, Made } from "./bake-traces.ts";
import type { CatalogueImage } from "./catalogue.ts";
import { completeImages } from "./completion.ts";
import { sweepBake, type Swept } from "./sweep.ts";

/** An image that this run baked: available, tagged with its snapshots, and marked complete. */
export interface NewImage {
  readonly image: CatalogueImage;
  readonly baked: Baked;
}

export interface MakeTools extends BakeTools {
  /** The account that bakes: the only one whose images are completed. */
  readonly account: () => Promise<string>;
  /** Told that Packer ended with 0, and which images it made, before any of them is touched. Waited for. */
  readonly onEnded: (ended: Ended) => Promise<void>;
  /** The repository, and its former names. */
  readonly repositories: readonly string[];
}

/** Milliseconds in which what a failed bake left is removed. */
const PATIENCE = 5 * 60_000;

/**
 * Bakes an image and completes it: one AMI in the region where it is needed, available, with Kiln's tags and its mark. A
 * bake that does not end well leaves no image: what it made is removed again. A cancelled run has no time for that: its post
 * step removes it.
 * @throws KilnError if the bake fails, makes several images for one region, or none where it is needed
 */
export async function makeImage(
  clients: AwsClients,
  order: BakeOrder,
  ready: BakeReady,
  tools: MakeTools,
): Promise<NewImage> {
  let made: Made = {};
  const onMade = (now: Made): void => {
    made = now;
    tools.onMade(now);
  };
  try {
    const baked = await bake(order, ready, { ...tools, onMade });
    const ids = onePerRegion(baked, order.region);
    const { tags, commit } = order;
    await tools.onEnded({ ids, commit, version: tags[TAG.version] ?? "", branch: tags[TAG.branch] });
    const account = await tools.account();
    const { baseImage } = baked;
    return { baked, image: await completeImages(clients, { ...order, ids, account, baseImage }, tools) };
  } catch (error) {
    // Packer looks for the name before it makes anything.
    const isUntouched = error instanceof NameTakenError && made.instances === undefined;
    if (isUntouched || error instanceof CancelledError || tools.signal.aborted) throw error;
    const { region, imageName, mark } = order;
    const traces = { ...made, region, imageName, mark, from: "output" } as const;
    const deadline = new Date(tools.clock.now().getTime() + PATIENCE);
    throw withSwept(error, await sweepBake(clients, traces, { ...tools, deadline }));
  }
}

/** The images by region; a release is one image in each. */
function onePerRegion({ ids }: Baked, home: string): Readonly<Record<string, ImageId>> {
  const several = [...ids].find(([, each]) => each.size > 1);
  if (several !== undefined) {
    throw new KilnError(
      `The template builds ${several[1].size} images for ${several[0]}; a release is one image per region`,
      {
        state: "Nothing was rolled out.",
        next: "Choose the build that makes the application's image by `image.only` or `image.except`, or release the others as applications of their own.",
      },
    );
  }
  if (!ids.has(home)) {
    throw new KilnError(`The bake made no AMI in ${home}, where it is needed`, {
      state: `It made one in ${[...ids.keys()].join(", ")} only. Nothing was rolled out.`,
      next: `Set the template's region to ${home} (it is the default where the template names none), or add it to \`ami_regions\`.`,
    });
  }
  return Object.fromEntries([...ids].flatMap(([region, [id]]) => (id === undefined ? [] : [[region, id]])));
}

/** An error that says as well what became of what the bake made. */
function withSwept(error: unknown, { removed, left }: Swept): unknown {
  if (!(error instanceof KilnError) || removed.length + left.length === 0) return error;
  const said = [
    ...(removed.length === 0
      ? []
      : [`Removed what the bake left, with its snapshots: ${removed.join(", ")}.`]),
    ...(left.length === 0 ? [] : [`Not removed: ${left.join("; ")}. It is never used.`]),
    ...(error.state === undefined ? [] : [error.state]),
  ];
  const detail = { state: said.join(" "), next: error.next, cause: error };
  if (error instanceof NameTakenError)
    return new NameTakenError(error.message, { ...detail, taken: error.taken });
  if (error instanceof RemoteError) return new RemoteError(error.message, { ...detail, code: error.code });
  return new KilnError(error.message, detail);
}
