import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BakeTools } from "./bake-order.ts";
import { type Inventory, MAX_INVENTORY_BYTES, parseInventory } from "./inventory.ts";

/** Where a template that declares `inventory_file` puts the list of what is installed. */
export function inventoryFile({ temporaryFolder }: Pick<BakeTools, "temporaryFolder">): string {
  return join(temporaryFolder, "kiln-inventory");
}

/** The inventory, where the template wrote one. An image without is as good as one with: nothing here fails a bake. */
export async function readInventory(
  tools: Pick<BakeTools, "temporaryFolder" | "log" | "secrets">,
): Promise<Inventory | undefined> {
  const unusable = (why: string): undefined =>
    tools.log.warning(
      `The template's inventory_file is not used: ${why}. The release has no list of packages`,
    ) as undefined;
  try {
    const text = await readBounded(inventoryFile(tools));
    if (text === undefined) return undefined;
    if (text === TOO_LARGE) return unusable(`it is larger than ${MAX_INVENTORY_BYTES / 1024 / 1024} MiB`);
    const inventory = parseInventory(text, tools.secrets);
    if (inventory.packages.length === 0) {
      return unusable(
        inventory.format === "unknown"
          ? "it is neither a list of `name version` lines nor CycloneDX or SPDX in JSON"
          : "it names no package with a version",
      );
    }
    const ignored = inventory.ignored === 0 ? "" : `; ignored, since without a version: ${inventory.ignored}`;
    tools.log.info(`Inventory: ${inventory.packages.length} packages${ignored}`);
    if (inventory.hidden) {
      tools.log.warning(
        "The template's inventory_file holds a secret: it is left out here and in git, but it may be in the image too",
      );
    }
    return inventory;
  } catch (error) {
    return unusable(error instanceof Error ? error.message : String(error));
  } finally {
    // It is read: what is in it is nobody's business any more.
    await rm(inventoryFile(tools), { recursive: true, force: true });
  }
}

const TOO_LARGE = Symbol("too large");

/** A file's text; undefined where there is none. */
async function readBounded(path: string): Promise<string | typeof TOO_LARGE | undefined> {
  const file = await open(path).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    if ((await file.stat()).size > MAX_INVENTORY_BYTES) return TOO_LARGE;
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
