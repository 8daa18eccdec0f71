import { writeFile } from "node:fs/promises";
import type { Clock, Finished, Subprocess } from "../../src/domain/ports.ts";
import type { Ec2World } from "../../sandbox/aws/ec2/world.ts";
import { HOME } from "../../sandbox/sandbox.ts";

export const TEMPLATE = "packer/web.pkr.hcl";

export interface PlayedBake {
  /** Virtual milliseconds from Packer's start to its image. */
  readonly takes: number;
  /** Whether the template uses `image_tags`. */
  readonly tags: boolean;
  /** What is installed, where the template writes that down. */
  readonly inventory?: string;
}

const fine = (stdout = ""): Finished => ({ code: 0, stdout, stderr: "" });

/** git and Packer as a run sees them: a checkout with one template, and bakes that take virtual time. */
export class PlayedPrograms implements Subprocess {
  readonly #clock: Pick<Clock, "sleep">;
  readonly #ec2: Ec2World;
  /** The template's git object: what decides the content. */
  readonly #object: string;
  readonly #bake: PlayedBake;
  readonly #onBuild: () => void;

  constructor(
    clock: Pick<Clock, "sleep">,
    ec2: Ec2World,
    object: string,
    bake: PlayedBake,
    onBuild: () => void,
  ) {
    this.#clock = clock;
    this.#ec2 = ec2;
    this.#object = object;
    this.#bake = bake;
    this.#onBuild = onBuild;
  }

  async run(command: string, args: readonly string[]): Promise<Finished> {
    if (command === "packer") return fine(args[0] === "version" ? "Packer v1.16.0" : "");
    // An index in which the template is unchanged, and as long as its object.
    if (args.includes("--stage"))
      return fine(`H 100644 ${this.#object} 0\t${TEMPLATE}\0  mtime: 1:0\n  size: 7\tflags: 0\n`);
    return fine(args.includes("cat-file") ? `${this.#object} 7\n` : "");
  }

  async start(
    _command: string,
    _args: readonly string[],
    options: Parameters<Subprocess["start"]>[2],
  ): ReturnType<Subprocess["start"]> {
    this.#onBuild();
    const stopped = new AbortController();
    return {
      pid: 1,
      output: "/dev/null",
      exit: this.#build(options.env ?? {}, options.onLine, stopped.signal),
      stop: () => stopped.abort(new Error("stopped")),
      kill: () => stopped.abort(new Error("killed")),
    };
  }

  async #build(
    env: Readonly<Record<string, string>>,
    print: (line: string) => void,
    stopped: AbortSignal,
  ): Promise<number> {
    const name = env["PKR_VAR_image_name"] ?? "";
    const taken = (): boolean => {
      const other = this.#ec2
        .images(HOME)
        .find((image) => image.name === name && image.deregisteredAt === undefined);
      if (other !== undefined)
        print(`==> amazon-ebs.web: Error: AMI Name: '${name}' is used by an existing AMI: ${other.id}`);
      return other !== undefined;
    };
    if (taken()) return 1;
    // What is made for the time of the bake; it is gone when Packer ends.
    print("==> amazon-ebs.web: Creating temporary keypair: packer_6b018955-bda3-14d5-2626-19b67cd00e5a");
    print(
      "==> amazon-ebs.web: Creating temporary security group for this instance: packer_6b018955-2df6-8723-e8ef-682e95149eb9",
    );
    print("==> amazon-ebs.web: Launching a source AWS instance...");
    print("    amazon-ebs.web: Instance ID: i-0123456789abcdef0");
    try {
      await this.#clock.sleep(this.#bake.takes, stopped);
    } catch {
      return 1;
    }
    if (taken()) return 1;
    const tags = JSON.parse(env["PKR_VAR_image_tags"] ?? "{}") as Record<string, string>;
    const { id } = this.#ec2.addImage(HOME, {
      name,
      sourceInstanceId: "i-0123456789abcdef0",
      tags: this.#bake.tags ? tags : {},
    });
    const { inventory } = this.#bake;
    if (inventory !== undefined) await writeFile(env["PKR_VAR_inventory_file"] ?? "", inventory);
    print("==> Builds finished. The artifacts of successful builds are:");
    print("--> amazon-ebs.web: AMIs were created:");
    print(`${HOME.region}: ${id}`);
    return 0;
  }
}
