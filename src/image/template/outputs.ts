import { posix, resolve } from "node:path";
import { isRepositoryPath } from "../../domain/repository-path.ts";
import { attributeOf, blocksOf, type HclBlock } from "./expression.ts";
import type { Folders } from "./references.ts";
import type { TemplateFiles } from "./template-files.ts";
import type { Evaluation } from "./values.ts";

/** Post-processors that write a file on the runner, with the attribute that names it and its default. */
const WRITERS: Readonly<Record<string, { readonly attribute: string; readonly otherwise?: string }>> = {
  checksum: { attribute: "output" },
  compress: { attribute: "output" },
  manifest: { attribute: "output", otherwise: "packer-manifest.json" },
};

/**
 * The files of the repository that a bake writes, as far as their names are known: what it makes is not what it is made
 * from. Relative to the repository's root.
 */
export function outputsIn(
  { template }: TemplateFiles,
  evaluation: Evaluation,
  { repository, workingDirectory }: Folders,
): readonly string[] {
  const bodies = template.flatMap(({ items }) => blocksOf(items, "build").map(({ body }) => body));
  const names = bodies.flatMap((body) => {
    const chains = blocksOf(body, "post-processors").flatMap((chain) => chain.body);
    return [
      ...blocksOf([...body, ...chains], "post-processor").map((block) => writtenBy(block, evaluation)),
      ...blocksOf(body, "provisioner").map((block) => downloadedBy(block, evaluation)),
    ];
  });
  const paths = names.flatMap((name) => {
    if (name === undefined) return [];
    const path = posix.relative(repository, resolve(workingDirectory, name));
    return isRepositoryPath(path) ? [path] : [];
  });
  return [...new Set(paths)];
}

function writtenBy({ labels: [type = ""], body }: HclBlock, evaluation: Evaluation): string | undefined {
  if (!Object.hasOwn(WRITERS, type)) return undefined;
  const { attribute = "", otherwise } = WRITERS[type] ?? {};
  const value = attributeOf(body, attribute)?.value;
  if (value === undefined) return otherwise;
  return nameOf(evaluation.valueOf(value));
}

/** `provisioner "file"` with `direction = "download"`; a folder that it downloads into is none of its files. */
function downloadedBy({ labels: [type], body }: HclBlock, evaluation: Evaluation): string | undefined {
  const value = (name: string): string | undefined => {
    const attribute = attributeOf(body, name);
    return attribute === undefined ? undefined : nameOf(evaluation.valueOf(attribute.value));
  };
  if (type !== "file" || value("direction") !== "download") return undefined;
  const destination = value("destination");
  return destination?.endsWith("/") === true ? undefined : destination;
}

/** A name that is complete: what Packer puts in while it bakes is not known. */
function nameOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && !value.includes("{{") ? value : undefined;
}
