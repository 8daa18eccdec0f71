import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { mkdirSync } from "node:fs";
import { addGroups, WorkingCopy } from "../../sandbox/example-stage.ts";
import { type Job, type JobResult, runJob } from "../../sandbox/runner.ts";
import { HOME, type Sandbox, type SandboxOptions, startSandbox } from "../../sandbox/sandbox.ts";
import type { LoggedRequest } from "../../sandbox/request-log.ts";
import { processesOf } from "./machine.ts";

const DIGESTS = new Map<string, string>();

/** A sandbox with the example's groups and a clone of its repository, and jobs run in it by the built action. */
export class Stage implements AsyncDisposable {
  readonly folder: string;
  readonly sandbox: Sandbox;
  readonly copy: WorkingCopy;
  #runs = 0;

  private constructor(folder: string, sandbox: Sandbox, copy: WorkingCopy) {
    this.folder = folder;
    this.sandbox = sandbox;
    this.copy = copy;
  }

  static async open(options: Partial<SandboxOptions> = {}): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), "kiln-scenario-"));
    const sandbox = await startSandbox({ folder, speed: 120, skips: true, ...options });
    addGroups(sandbox);
    return new Stage(folder, sandbox, await WorkingCopy.create(sandbox, join(folder, "checkout")));
  }

  /** Pushes the working copy's commit to a branch, and runs the job that this starts. */
  async push(
    branch: string,
    job: Partial<Job> = {},
  ): Promise<JobResult & { readonly requests: readonly LoggedRequest[] }> {
    await this.copy.push(branch);
    return this.run({ ref: `refs/heads/${branch}`, ...job });
  }

  async run(job: Partial<Job> = {}): Promise<JobResult & { readonly requests: readonly LoggedRequest[] }> {
    const mark = this.sandbox.log.entries.length;
    this.#runs = job.runId ?? this.#runs + 1;
    const result = await runJob(this.sandbox, this.folder, {
      workspace: this.copy.folder,
      ref: "refs/heads/develop",
      commit: job.commit ?? (await this.copy.head()),
      runId: this.#runs,
      ...job,
      inputs: { "poll-interval": "20ms", ...job.inputs },
    });
    return { ...result, requests: this.sandbox.log.since(mark) };
  }

  /** An image of the working copy's content, as an earlier run left it: without the seconds that Packer takes. */
  async seedImage(tags: Readonly<Record<string, string>> = {}): Promise<string> {
    const digest = await this.#digest();
    const commit = await this.copy.head();
    const image = this.sandbox.ec2.addImage(HOME, {
      name: `web-${commit.slice(0, 12)}-${digest.slice("sha256:".length, "sha256:".length + 12)}`,
      tags: {
        "kiln:application": "web",
        "kiln:digest": digest,
        "kiln:repository": "acme/web",
        "kiln:commit": commit,
        ...tags,
      },
    });
    return image.id;
  }

  /** The digest of the working copy's content, by the action itself; asked for once a content, whichever stage asks. */
  async #digest(): Promise<string> {
    const tree = await this.copy.git("rev-parse", "HEAD^{tree}");
    const known = DIGESTS.get(tree);
    if (known !== undefined) {
      this.#runs += 1;
      return known;
    }
    const planned = await this.run({
      inputs: { "dry-run": "true", environment: "dev" },
      event: "workflow_dispatch",
    });
    const digest = planned.outputs["image-digest"] ?? "";
    DIGESTS.set(tree, digest);
    return digest;
  }

  /** Writes files into the working copy and commits them. */
  async commit(message: string, files: Readonly<Record<string, string>>): Promise<string> {
    for (const [path, content] of Object.entries(files)) await this.write(path, content);
    return this.copy.commit(message);
  }

  async write(path: string, content: string): Promise<void> {
    const full = join(this.copy.folder, path);
    mkdirSync(dirname(full), { recursive: true });
    await writeFile(full, content);
  }

  /** Plain git on the server's side. */
  git(...args: string[]): string {
    return execFileSync("git", args, { cwd: this.sandbox.repository.path, encoding: "utf8" }).trim();
  }

  /** All records, by plain git. */
  records(): string[] {
    return this.git("for-each-ref", "--format=%(refname:short)", "refs/tags/**").split("\n").filter(Boolean);
  }

  locks(): string[] {
    return this.git(
      "for-each-ref",
      "--format=%(refname)",
      "refs/kiln/lock/**",
      "refs/kiln/bake/**",
      "refs/kiln/takeover/**",
    )
      .split("\n")
      .filter(Boolean);
  }

  /** The images that a group's instances in service run. */
  running(group: string): string[] {
    const { members } = this.sandbox.autoScaling.group(group);
    return members.filter((member) => member.lifecycleState === "InService").map((member) => member.imageId);
  }

  /** Available images of the account. */
  images(): string[] {
    return this.sandbox.ec2
      .images(HOME)
      .filter((image) => image.ownerId === HOME.accountId && image.state === "available")
      .map((image) => image.id);
  }

  /** What costs money or clutters the account after a bake. */
  leftovers(): string[] {
    const { ec2 } = this.sandbox;
    return [
      ...ec2.keyPairs(HOME).map((pair) => pair.id),
      ...ec2.securityGroups(HOME).flatMap((group) => (group.name === "default" ? [] : [group.id])),
      ...ec2
        .instances(HOME)
        .filter((instance) => instance.keyName !== undefined && instance.state !== "terminated")
        .map((instance) => instance.id),
      ...ec2
        .images(HOME)
        .filter((image) => image.ownerId === HOME.accountId && image.state === "pending")
        .map((image) => image.id),
    ];
  }

  /** When every process of this stage's jobs has ended. */
  async quiet(): Promise<void> {
    for (let tries = 0; tries < 600; tries += 1) {
      if (processesOf(this.folder).length === 0) return;
      await after(100);
    }
    throw new Error("a process of a job goes on and on");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of processesOf(this.folder)) process.kill(pid, "SIGKILL");
    await this.sandbox.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The writes of ours among requests: Packer's own are told by their user agent. */
export function ourWrites(requests: readonly LoggedRequest[]): string[] {
  return requests.filter((request) => request.writes && !isPacker(request)).map((request) => request.action);
}

/** Requests of the action itself, counted by service. */
export function counts(requests: readonly LoggedRequest[]): {
  readonly aws: number;
  readonly github: number;
} {
  const ours = requests.filter((request) => !isPacker(request));
  const github = ours.filter((request) => request.service === "github").length;
  return { github, aws: ours.length - github };
}

export const PACKER_AGENT = /APN\/1\.0 HashiCorp|Packer|aws-sdk-go/i;

export function isPacker(request: LoggedRequest): boolean {
  return PACKER_AGENT.test(request.userAgent);
}
