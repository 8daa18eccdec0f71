import * as z from "zod";
import { KilnError } from "../domain/errors.ts";
import { type Digest, type ImageId, isDigest, isImageId } from "../domain/image.ts";
import type { CommitFiles } from "../github/commit-files.ts";
import type { Repository } from "../github/repository.ts";

/** What git keeps of an image, as the text of its files; nothing of it is needed to release or restore an image. */
export interface ImageFiles {
  /** `packages.txt`: `name version` a line; undefined where the template writes no inventory. */
  readonly packages: string | undefined;
  /** `content.txt`: what the digest is made of. */
  readonly content: string | undefined;
  /** `image.json`. */
  readonly image: ImageFacts | undefined;
}

export interface ImageFacts {
  readonly digest: Digest;
  readonly name: string;
  /** Region → AMI, as the bake made them; copies that came later have the same name. */
  readonly images: Readonly<Record<string, ImageId>>;
  readonly baseImages: Readonly<Record<string, ImageId>>;
  /** The commit that it was baked from. */
  readonly commit: string;
  readonly version: string;
  /** RFC 3339. */
  readonly created: string;
}

/** An image's files and the commit that holds them. */
export interface KeptImage {
  readonly commit: string;
  readonly files: ImageFiles;
}

const PACKAGES = "packages.txt";
const CONTENT = "content.txt";
const IMAGE = "image.json";

/** Where the files of a content's images are: the newest bake's commit, with the earlier ones behind it. */
export function imageRef(digest: Digest): string {
  return `refs/kiln/images/${digest.slice("sha256:".length)}`;
}

/** Tries before giving up: that many other runs would have to keep an image of this content in the same second. */
const MAX_TRIES = 5;

/**
 * Keeps an image's files in git: a commit at the content's ref, on top of an earlier bake's. Idempotent: where the ref has
 * this very tree already, that commit is it. The ref is only ever moved forward, so that no bake's files are lost.
 * @param author who started the run
 * @throws KilnError where it cannot be written
 */
export async function keepImageFiles(
  repository: Repository,
  files: ImageFiles & { readonly image: ImageFacts },
  author: string,
): Promise<KeptImage> {
  const { image } = files;
  // What git's own format of an author would read as its end.
  const person = author.replace(/[<>\s\p{Cc}]/gu, "").slice(0, 100) || "unknown";
  const ref = imageRef(image.digest);
  const tree = await repository.createTree(filesOf(files));
  let parent: string | undefined;
  for (let tried = 0; tried < MAX_TRIES; tried += 1) {
    const commit = await repository.createCommit({
      tree,
      parent,
      message: `Image ${image.name}\n`,
      author: { name: person, email: `${person}@users.noreply.github.com` },
      // The image's, not now: the same files are then the same commit.
      date: new Date(image.created),
    });
    if (parent === undefined) {
      if ((await repository.createRef(ref, commit)) === "created") return { commit, files };
    } else if ((await repository.updateRef(ref, commit)) === "updated") return { commit, files };
    parent = await repository.readRef(ref);
    if (parent !== undefined && (await repository.treeOf(parent)) === tree) return { commit: parent, files };
  }
  throw new KilnError(`${ref} could not be moved forward in ${MAX_TRIES} tries`);
}

/** The files as they are written; equal facts give equal bytes. */
function filesOf({ packages, content, image }: ImageFiles): Record<string, string> {
  return {
    ...(content === undefined ? {} : { [CONTENT]: content }),
    ...(image === undefined ? {} : { [IMAGE]: `${JSON.stringify(sorted(image), null, 2)}\n` }),
    ...(packages === undefined ? {} : { [PACKAGES]: packages }),
  };
}

/** Plain data with its keys in order, all the way down. */
function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

/** What to look for: a commit that a record names, or the image itself among the bakes of its content. */
export type Wanted =
  { readonly commit: string } | { readonly digest: Digest; readonly id: ImageId; readonly name: string };

/** Bakes of one content that are looked through, each a request more; the newest is almost always the one. */
const BAKES_READ = 4;

/** Reads the files of several images, all of them in one request; undefined for what there is not. */
export async function readImageFiles(
  repository: Repository,
  wanted: readonly Wanted[],
): Promise<readonly (KeptImage | undefined)[]> {
  const revisions = wanted.map((each) => ("commit" in each ? each.commit : imageRef(each.digest)));
  const found = await repository.readCommitFiles([...new Set(revisions)]);
  return Promise.all(
    wanted.map(async (each, index) => {
      const read = found.get(revisions[index] ?? "");
      if (read === undefined) return undefined;
      return "commit" in each ? toKept(read) : findBake(repository, read, each);
    }),
  );
}

/** The bake of this very image: another of the same content may have other packages. */
async function findBake(
  repository: Repository,
  newest: CommitFiles,
  wanted: { readonly id: ImageId; readonly name: string },
): Promise<KeptImage | undefined> {
  let read: CommitFiles | undefined = newest;
  for (let looked = 0; looked < BAKES_READ && read !== undefined; looked += 1) {
    const kept = toKept(read);
    const image = kept.files.image;
    // A copy in another region has an id of its own, and the name.
    if (
      image !== undefined &&
      (Object.values(image.images).includes(wanted.id) || image.name === wanted.name)
    )
      return kept;
    const [parent]: readonly string[] = read.parents;
    read = parent === undefined ? undefined : (await repository.readCommitFiles([parent])).get(parent);
  }
  return undefined;
}

function toKept({ commit, files }: CommitFiles): KeptImage {
  return {
    commit,
    files: {
      packages: files.get(PACKAGES),
      content: files.get(CONTENT),
      image: readFacts(files.get(IMAGE)),
    },
  };
}

const ids = z.record(
  z.string(),
  z.custom<ImageId>((value) => typeof value === "string" && isImageId(value)),
);
const facts = z.object({
  digest: z.custom<Digest>((value) => typeof value === "string" && isDigest(value)),
  name: z.string(),
  images: ids,
  baseImages: ids,
  commit: z.string(),
  version: z.string(),
  created: z.string(),
});

/** The file's facts; undefined where somebody else wrote something else there. */
function readFacts(text: string | undefined): ImageFacts | undefined {
  if (text === undefined) return undefined;
  try {
    return facts.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
