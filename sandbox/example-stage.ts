/** The example application's stage: a repository with its branches, and the three groups that it is released to. */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { addGroupOnTemplate } from "./group-on-template.ts";
import { HOME, type Sandbox } from "./sandbox.ts";

const run = promisify(execFile);
const EXAMPLE = join(import.meta.dirname, "../examples/web");

/** A base image as Canonical publishes it, and the groups as somebody's Terraform left them: on plain Ubuntu. */
export function addGroups(sandbox: Sandbox): void {
  const bases = sandbox.ec2.addBaseImage({
    name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261101",
  });
  const base = bases.get(HOME.region);
  if (base === undefined) throw new Error("no base image");
  for (const [name, desired] of [
    ["web-dev", 1],
    ["web-qa", 2],
    ["web-production", 4],
  ] as const) {
    addGroupOnTemplate(sandbox, {
      ...HOME,
      name,
      imageId: base.id,
      min: 1,
      max: desired + 2,
      desired,
      targetGroupArns: [
        `arn:aws:elasticloadbalancing:${HOME.region}:${HOME.accountId}:targetgroup/${name}/0123456789abcdef`,
      ],
    });
  }
}

/** A clone of the sandbox's repository that holds the example; commits and pushes with plain git. */
export class WorkingCopy {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** The example as the first commit on `main`, pushed. */
  static async create(sandbox: Sandbox, folder: string): Promise<WorkingCopy> {
    await mkdir(folder, { recursive: true });
    await cp(EXAMPLE, folder, { recursive: true });
    const copy = new WorkingCopy(folder);
    await copy.git("init", "--quiet", "--initial-branch=main");
    await copy.git("remote", "add", "origin", sandbox.repository.path);
    await copy.commit("Add the web application");
    await copy.push("main");
    return copy;
  }

  async git(...args: string[]): Promise<string> {
    const { stdout } = await run("git", args, {
      cwd: this.folder,
      env: {
        PATH: process.env["PATH"],
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_CONFIG_GLOBAL: "/dev/null",
        GIT_AUTHOR_NAME: "Ada",
        GIT_AUTHOR_EMAIL: "ada@example.com",
        GIT_COMMITTER_NAME: "Ada",
        GIT_COMMITTER_EMAIL: "ada@example.com",
      },
    });
    return stdout.trim();
  }

  /** Commits all changes; returns the commit. */
  async commit(message: string): Promise<string> {
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--allow-empty", "-m", message);
    return this.head();
  }

  head(): Promise<string> {
    return this.git("rev-parse", "HEAD");
  }

  async push(branch: string): Promise<void> {
    await this.git("push", "--quiet", "origin", `HEAD:refs/heads/${branch}`);
  }

  chmod(path: string, mode: number): Promise<void> {
    return chmod(join(this.folder, path), mode);
  }

  read(path: string): Promise<string> {
    return readFile(join(this.folder, path), "utf8");
  }
}
