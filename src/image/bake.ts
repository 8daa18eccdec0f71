import { rm } from "node:fs/promises";
import { CancelledError, type ErrorDetail, KilnError } from "../domain/errors.ts";
import { buildHint } from "./bake-hints.ts";
import type { Baked, BakeOrder, BakeReady, BakeTools } from "./bake-order.ts";
import { environment, withSecretFile } from "./bake-preparation.ts";
import { BakeProgress } from "./bake-progress.ts";
import { inventoryFile, readInventory } from "./inventory-file.ts";
import { invocationOf } from "./packer.ts";

/**
 * Runs `packer build` and follows its output. Packer runs detached with its output in a file, so that it can clean up
 * after itself when this process is cancelled; it is asked to stop by SIGTERM, since its wrapper ignores SIGINT.
 * @throws KilnError where it fails or makes no AMI; CancelledError where the signal aborted
 */
export async function bake(order: BakeOrder, ready: BakeReady, tools: BakeTools): Promise<Baked> {
  tools.signal.throwIfAborted();
  const progress = new BakeProgress(tools);
  // An earlier bake of this job may have left one: that would be another image's.
  await rm(inventoryFile(tools), { force: true });
  const { cwd, template, selection } = await invocationOf(order.recipe, tools.folder);
  const code = await withSecretFile(ready.call, tools, async () => {
    const program = await tools.subprocess.start(
      "packer",
      ["build", "-color=false", ...selection, ...ready.call.args, template],
      {
        cwd,
        inherits: "everything",
        env: { ...environment(order), ...ready.call.env },
        onLine: (line) => {
          progress.line(line);
        },
      },
    );
    const { region, imageName, mark } = order;
    tools.onStarted({ pid: program.pid, output: program.output, region, imageName, mark });
    const stop = (): void => {
      tools.log.info("Cancelled: Packer is asked to stop and to clean up after itself");
      program.stop();
    };
    if (tools.signal.aborted) stop();
    tools.signal.addEventListener("abort", stop, { once: true });
    return program.exit.finally(() => {
      tools.signal.removeEventListener("abort", stop);
    });
  });
  const result = progress.result();
  if (tools.signal.aborted) {
    throw new CancelledError("The bake was cancelled", {
      state:
        "Packer ended and removed its temporary resources. The post step removes an image that it had made. Nothing was rolled out.",
    });
  }
  if (code !== 0) {
    const next = await buildHint(progress.recent, { recipe: order.recipe, folder: tools.folder, cwd });
    throw bakeFailed(code, progress.tail, next);
  }
  if (result.ids.size === 0) {
    throw new KilnError("Packer ended well but made no AMI", {
      state: `Nothing was rolled out. The last lines of its output:\n${progress.tail.join("\n")}`,
      next: "Check that the template has a build block with an Amazon builder that creates an AMI (no `skip_create_ami`).",
    });
  }
  return { ...result, inventory: await readInventory(tools) };
}

/** The name that the image was to have is taken. */
export class NameTakenError extends KilnError {
  /** The name: Kiln's, or the template's own. */
  readonly taken: string;

  constructor(message: string, detail: ErrorDetail & { readonly taken: string }) {
    super(message, detail);
    this.taken = detail.taken;
  }
}

/** Packer looks before it makes anything; EC2 refuses what only it knows of, such as the name of a disabled image. */
const TAKEN = [
  /AMI Name: '(?<name>[^']+)' is used by an existing AMI: (?<by>ami-[0-9a-f]+)/,
  /InvalidAMIName\.Duplicate: AMI name (?<name>\S+) is already in use by AMI (?<by>ami-[0-9a-f]+)/,
] as const;

function bakeFailed(code: number, tail: readonly string[], next: string): KilnError {
  const text = tail.join("\n");
  const lines = `The last lines of its output:\n${text}`;
  const found = TAKEN.map((pattern) => pattern.exec(text)?.groups).find((groups) => groups !== undefined);
  if (found !== undefined) {
    const { name: taken = "", by = "" } = found;
    const isEarly = TAKEN[0].test(text);
    return new NameTakenError(`The image name ${taken} is taken by ${by}`, {
      taken,
      state: `${isEarly ? "Packer stopped before it started an instance" : "Packer ended without an image"}. Nothing was rolled out.${isEarly ? "" : ` ${lines}`}`,
      next: "Run the job again: it takes the next free name. If the template names the image itself, let it use `image_name`.",
    });
  }
  return new KilnError(`The bake failed: packer build ended with ${code}`, {
    state: `Nothing was rolled out. ${lines}`,
    next,
  });
}
