import { type Digest, type ImageId, TAG } from "../domain/image.ts";
import type { Baked } from "../image/bake-order.ts";
import type { CatalogueImage } from "../image/catalogue.ts";
import { contentList } from "../image/content/digest.ts";
import { type FoundContent, readContent } from "../image/content/image-content.ts";
import { inventoryText } from "../image/inventory.ts";
import { regionEnvironment } from "../image/packer.ts";
import { keepImageFiles, type KeptImage } from "../release/image-files.ts";
import { homeOf } from "./plan.ts";
import type { Ports } from "./ports.ts";
import type { ImageFilesSource } from "./release-order.ts";
import type { DeployRequest } from "./request.ts";

/**
 * What a run knows about its content and about the images that it baked, and keeps in git. The content is read once, before
 * the bake: afterwards the working tree may hold what Packer wrote.
 */
export class ImageKeeper implements ImageFilesSource {
  readonly #request: DeployRequest;
  readonly #ports: Ports;
  readonly #kept = new Map<ImageId, KeptImage>();
  #found: Promise<FoundContent> | undefined;

  constructor(request: DeployRequest, ports: Ports) {
    this.#request = request;
    this.#ports = ports;
  }

  /** Everything that decides the image. */
  found(): Promise<FoundContent> {
    const { application, vars, secretVars, sensitive, templateEnvironment } = this.#request;
    const { workspace, subprocess } = this.#ports;
    const [first] = application.environments;
    const region = first === undefined ? {} : regionEnvironment(homeOf(first));
    this.#found ??= readContent({
      recipe: { ...application.image, vars },
      secretVars: Object.keys(secretVars),
      sensitive,
      environment: { ...templateEnvironment, ...region },
      folder: workspace,
      subprocess,
    });
    return this.#found;
  }

  async content(): Promise<string> {
    return this.#ports.secrets.redactFact(contentList((await this.found()).content));
  }

  keptOf(id: ImageId): KeptImage | undefined {
    return this.#kept.get(id);
  }

  /** Keeps an image's files; never fails a release. Packages are known of an image that this run baked. */
  async keep(image: CatalogueImage, digest: Digest, baked?: Baked): Promise<KeptImage | undefined> {
    const { run, version } = this.#request;
    const made = [...(baked?.ids ?? [])].flatMap(([region, [id]]) =>
      id === undefined ? [] : [[region, id] as const],
    );
    try {
      const kept = await keepImageFiles(
        this.#ports.repository,
        {
          packages:
            baked?.inventory === undefined
              ? undefined
              : this.#ports.secrets.redact(inventoryText(baked.inventory)),
          content: await this.content(),
          image: {
            digest,
            name: image.name,
            images: Object.fromEntries([...made, [image.region, image.id]]),
            baseImages: image.baseImage === undefined ? {} : { [image.region]: image.baseImage },
            commit: image.tags[TAG.commit] ?? run.commit,
            version: image.tags[TAG.version] ?? version,
            created: image.created.toISOString(),
          },
        },
        run.actor,
      );
      this.#kept.set(image.id, kept);
      this.#ports.log.info(`What ${image.id} is made of is kept in git: ${kept.commit}`);
      return kept;
    } catch (error) {
      this.#ports.log.warning(
        `What ${image.id} is made of could not be kept in git: ${error instanceof Error ? error.message : String(error)}. The release stands without it`,
      );
      return undefined;
    }
  }
}

const keepers = new WeakMap<DeployRequest, ImageKeeper>();

/** The keeper of a run: one for each request, so that every step of it means the same content. */
export function imageKeeper(request: DeployRequest, ports: Ports): ImageKeeper {
  const known = keepers.get(request);
  if (known !== undefined) return known;
  const keeper = new ImageKeeper(request, ports);
  keepers.set(request, keeper);
  return keeper;
}
