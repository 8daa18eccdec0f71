import { open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImageRecipe } from "../domain/application.ts";
import { formatDuration } from "../domain/duration.ts";
import { CancelledError, KilnError } from "../domain/errors.ts";
import { type ImageId, TAG } from "../domain/image.ts";
import type { Clock, Log, Subprocess } from "../domain/ports.ts";
import { shortened } from "../domain/printable.ts";
import type { Secrets } from "../domain/secrets.ts";
import { type Made, MadeReader } from "./bake-traces.ts";
import { type Inventory, MAX_INVENTORY_BYTES, parseInventory } from "./inventory.ts";
import {
  findPacker,
  hclMap,
  isLegacyTemplate,
  type Packer,
  PACKER_ENVIRONMENT,
  type PackerCall,
  passVariables,
  pathArgument,
} from "./packer.ts";
import { PackerOutput, type Phase } from "./packer-output.ts";
import { automaticVariableFiles } from "./sensitive-variables.ts";

/** What a bake is to make. */
export interface BakeOrder {
  readonly recipe: ImageRecipe;
  readonly secretVars: Readonly<Record<string, string>>;
  /** Variables that the template marks sensitive: they go as secrets do. */
  readonly sensitive: ReadonlySet<string>;
  readonly imageName: string;
  readonly version: string;
  readonly commit: string;
  /** The tags that the image is to carry. */
  readonly tags: Readonly<Record<string, string>>;
  /** Where the image is needed first: Packer's region where the template names none. */
  readonly region: string;
  /** What tells this bake from all others: the value of a tag on what there is for its time only. */
  readonly mark: string;
}

export interface BakeTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly subprocess: Subprocess;
  /** The repository's folder; Packer runs there. */
  readonly folder: string;
  /** A private folder that ends with the job. */
  readonly temporaryFolder: string;
  readonly signal: AbortSignal;
  /** For `packer init`, whose requests GitHub would else count against the runner's address. */
  readonly token: string;
  /** What nobody may read: left out of the log, of errors and of the inventory. */
  readonly secrets: Secrets;
  /** Told as soon as Packer runs, so that the run's post step can wait for it and sweep up behind it. */
  readonly onStarted: (packer: StartedPacker) => void;
  /** Told what Packer makes for the time of the bake, as soon as it says so; all of it each time. */
  readonly onMade: (made: Made) => void;
}

/** Packer at work: what tells afterwards, without this process, what it made. */
export interface StartedPacker {
  readonly pid: number;
  /** The file that it prints to. */
  readonly output: string;
  readonly region: string;
  readonly imageName: string;
  readonly mark: string;
}

export interface Baked {
  /** Region → AMI, as Packer lists them at the end. */
  readonly ids: ReadonlyMap<string, ReadonlySet<ImageId>>;
  /** The base image that the template's filter found, as Packer printed it. */
  readonly baseImage: ImageId | undefined;
  readonly phases: readonly { readonly phase: Phase; readonly milliseconds: number }[];
  /** What the template says is installed; undefined where it says nothing, or nothing that can be read. */
  readonly inventory: Inventory | undefined;
}

/** Characters of a line of Packer's output that are shown. */
const MAX_LINE = 2000;
/** Characters of what a short call of Packer printed that are shown when it fails. */
const MAX_OUTPUT = 20_000;

/** How many lines of Packer's output are shown again when a bake fails. */
const TAIL_LINES = 30;

/** Packer and the template, found good before anything is touched. */
export interface BakeReady {
  readonly packer: Packer;
  readonly call: PackerCall;
}

/**
 * Finds Packer, installs the template's plugins where this Packer can (`packer init`), and validates the template with
 * the variables that the bake will have.
 * @throws KilnError where Packer is missing or too old, or the template is invalid
 */
export async function prepareBake(order: BakeOrder, tools: BakeTools): Promise<BakeReady> {
  const { recipe } = order;
  const packer = await findPacker(tools.subprocess, tools.folder);
  const isFolder = await stat(join(tools.folder, recipe.template)).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const legacy = isLegacyTemplate(recipe.template, isFolder);
  const call = passVariables(
    legacy,
    {
      own: {
        image_name: order.imageName,
        image_version: order.version,
        commit: order.commit,
        inventory_file: inventoryFile(tools),
        ...(legacy ? {} : { image_tags: hclMap(order.tags), bake_tags: hclMap({ [TAG.bake]: order.mark }) }),
      },
      vars: recipe.vars,
      secretVars: order.secretVars,
      varFiles: recipe.varFiles,
      sensitive: order.sensitive,
    },
    await readVariableFiles(recipe, isFolder, tools.folder),
    secretFile(tools),
  );
  if (packer.hasInit && !legacy)
    await run(["init", pathArgument(recipe.template)], "packer init", order, tools, call);
  await run(["validate", ...call.args, pathArgument(recipe.template)], "packer validate", order, tools, call);
  return { packer, call };
}

/** The config file's variable files, and those that Packer loads by itself. */
async function readVariableFiles(
  { template, varFiles }: ImageRecipe,
  isFolder: boolean,
  folder: string,
): Promise<readonly string[]> {
  const automatic = isFolder ? await automaticVariableFiles(template, folder) : [];
  return Promise.all([...automatic, ...varFiles].map((file) => readFile(join(folder, file), "utf8")));
}

function secretFile({ temporaryFolder }: BakeTools): string {
  return join(temporaryFolder, "kiln-secret-vars.json");
}

async function run(
  args: readonly string[],
  what: string,
  order: BakeOrder,
  tools: BakeTools,
  call: PackerCall,
): Promise<void> {
  const finished = await withSecretFile(call, tools, () =>
    tools.subprocess.run("packer", args, {
      cwd: tools.folder,
      inherits: "everything",
      env: {
        ...environment(order),
        ...call.env,
        ...(what === "packer init" ? { PACKER_GITHUB_API_TOKEN: tools.token } : {}),
      },
    }),
  );
  if (finished.code === 0) return;
  const printed = tools.secrets.redact(`${finished.stdout}\n${finished.stderr}`.trim());
  const output = shortened(printed, MAX_OUTPUT);
  throw new KilnError(
    what === "packer init"
      ? `Packer could not install the plugins that ${order.recipe.template} requires`
      : `The Packer template ${order.recipe.template} is not valid`,
    {
      state: `Nothing was changed. \`${what}\` says:\n${output}`,
      next:
        what === "packer init" ? initHint(output) : "Correct the template or its variables, and push again.",
    },
  );
}

/** Since 1.3.10 the Amazon plugin is published on HashiCorp's own server only, which Packer before 1.14 does not ask. */
function initHint(output: string): string {
  if (/checksum file.*404|404.*checksum/is.test(output)) {
    return "Use Packer 1.14 or newer (hashicorp/setup-packer): plugins of this age are no longer published where older ones look.";
  }
  if (/rate limit/i.test(output))
    return "GitHub's rate limit was met: run the job again in some minutes, or cache PACKER_PLUGIN_PATH.";
  return "Check the template's required_plugins and the runner's way to releases.hashicorp.com and GitHub.";
}

function environment(order: BakeOrder): Record<string, string> {
  return { ...PACKER_ENVIRONMENT, AWS_REGION: order.region, AWS_DEFAULT_REGION: order.region };
}

async function withSecretFile<T>(call: PackerCall, tools: BakeTools, work: () => Promise<T>): Promise<T> {
  if (call.secretFile === undefined) return work();
  const path = secretFile(tools);
  await writeFile(path, call.secretFile, { mode: 0o600 });
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

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
  const code = await withSecretFile(ready.call, tools, async () => {
    const program = await tools.subprocess.start(
      "packer",
      ["build", "-color=false", ...ready.call.args, pathArgument(order.recipe.template)],
      {
        cwd: tools.folder,
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
      state: "Packer ended and removed its temporary resources. Nothing was rolled out.",
    });
  }
  if (code !== 0) throw bakeFailed(code, progress.tail, result);
  if (result.ids.size === 0) {
    throw new KilnError("Packer ended well but made no AMI", {
      state: `Nothing was rolled out. The last lines of its output:\n${progress.tail.join("\n")}`,
      next: "Check that the template has a build block with an Amazon builder that creates an AMI (no `skip_create_ami`).",
    });
  }
  return { ...result, inventory: await readInventory(tools) };
}

/** Where a template that declares `inventory_file` puts the list of what is installed. */
function inventoryFile({ temporaryFolder }: BakeTools): string {
  return join(temporaryFolder, "kiln-inventory");
}

/** The inventory, where the template wrote one. An image without is as good as one with: nothing here fails a bake. */
async function readInventory(tools: BakeTools): Promise<Inventory | undefined> {
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

/** Somebody was faster: there is an image of this name. */
export class NameTakenError extends KilnError {}

function bakeFailed(code: number, tail: readonly string[], result: Omit<Baked, "inventory">): KilnError {
  const text = tail.join("\n");
  const taken = /AMI Name: '([^']+)' is used by an existing AMI: (ami-[0-9a-f]+)/.exec(text);
  const left = [...result.ids].flatMap(([region, ids]) => [...ids].map((id) => `${region} ${id}`));
  const kept =
    left.length > 0 ? ` Images that other builds of the template made were kept: ${left.join(", ")}.` : "";
  if (taken !== null) {
    return new NameTakenError(
      `The image name ${taken[1] ?? ""} is taken by ${taken[2] ?? ""}, somebody else's image`,
      {
        state: `Packer stopped before it started an instance. Nothing was rolled out.${kept}`,
        next: "Packer before plugin 1.0 looks at the images of all accounts: use a newer Packer, or another `version` or application name.",
      },
    );
  }
  const Kind = /InvalidAMIName\.Duplicate/.test(text) ? NameTakenError : KilnError;
  return new Kind(`The bake failed: packer build ended with ${code}`, {
    state: `Nothing was rolled out.${kept} The last lines of its output:\n${text}`,
    next: bakeHint(text),
  });
}

/** Known causes, by what Packer or the provisioners print. */
function bakeHint(text: string): string {
  if (/Timeout waiting for SSH/i.test(text)) {
    return 'The instance could not be reached: check subnet and public address, security group, `ssh_username`, or use `ssh_interface = "session_manager"`.';
  }
  if (/Could not get lock \/var\/lib\/(?:dpkg|apt)/i.test(text)) {
    return "cloud-init was still installing packages: begin the provisioners with `cloud-init status --wait`.";
  }
  if (/exceeded wait attempts|ResourceNotReady/i.test(text)) {
    return "AWS took longer than Packer waits: set `aws_polling { delay_seconds = 15, max_attempts = 240 }` in the template, and run the job again: an image that became available later is taken up.";
  }
  if (/Script exited with non-zero exit status/i.test(text))
    return "A provisioner failed: the lines above are its own. Correct it and push again.";
  return "The lines above are Packer's own; correct the template or the account's set-up and run the job again.";
}

/** Prints what Packer does as it does it, and keeps what the result needs. */
class BakeProgress {
  readonly tail: string[] = [];
  readonly #output = new PackerOutput();
  readonly #made = new MadeReader();
  readonly #ids = new Map<string, Set<ImageId>>();
  readonly #phases: { phase: Phase; startedAt: number }[] = [];
  readonly #startedAt: number;
  readonly #tools: BakeTools;
  #baseImage: ImageId | undefined;

  constructor(tools: BakeTools) {
    this.#tools = tools;
    this.#startedAt = tools.clock.now().getTime();
  }

  line(raw: string): void {
    // Cut only now: half of a secret would not be known for one.
    const line = shortened(this.#tools.secrets.redact(raw), MAX_LINE);
    if (line.trim() !== "") {
      this.tail.push(line);
      if (this.tail.length > TAIL_LINES) this.tail.shift();
    }
    this.#tools.log.info(line);
    if (this.#made.read(raw)) this.#tools.onMade(this.#made.made);
    for (const event of this.#output.read(raw)) {
      if (event.kind === "phase") this.#enter(event.phase);
      else if (event.kind === "base-image") this.#baseImage ??= event.id;
      else if (event.kind === "artifact") {
        this.#ids.set(event.region, (this.#ids.get(event.region) ?? new Set<ImageId>()).add(event.id));
      }
    }
  }

  result(): Omit<Baked, "inventory"> {
    const end = this.#tools.clock.now().getTime();
    return {
      ids: this.#ids,
      baseImage: this.#baseImage,
      phases: this.#phases.map(({ phase, startedAt }, index) => ({
        phase,
        milliseconds: (this.#phases[index + 1]?.startedAt ?? end) - startedAt,
      })),
    };
  }

  #enter(phase: Phase): void {
    if (this.#phases.at(-1)?.phase === phase) return;
    const startedAt = this.#tools.clock.now().getTime();
    this.#phases.push({ phase, startedAt });
    this.#tools.log.info(`── ${phase} (after ${formatDuration(startedAt - this.#startedAt)}) ──`);
  }
}
