import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ServerChannel } from "ssh2";

/** The inside of a sandbox instance: its files and its running commands. */
export interface Machine {
  readonly instanceId: string;
  /** Makes the user's home folder. */
  addUser(user: string): void;
  /** Where a path on the instance (absolute, or relative to the user's home) is on this machine; never outside its root. */
  path(user: string, path: string): string;
  /** Runs a command line over a channel; returns what sends a signal (`TERM`, `INT`) to it. */
  run(request: CommandRequest): (signal: string) => void;
  /** Kills whatever still runs. */
  powerOff(): void;
}

export interface CommandRequest {
  readonly user: string;
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly channel: ServerChannel;
}

export function createMachine(place: { instanceId: string; root: string; shims: string }): Machine {
  return new ScratchMachine(place);
}

/** What a freshly booted server has, as far as provisioning scripts write into it. */
const skeleton = ["etc/systemd/system", "home", "opt", "tmp", "usr/local/bin", "var/lib", "var/tmp"];

class ScratchMachine implements Machine {
  readonly instanceId: string;
  readonly #root: string;
  readonly #shims: string;
  /** Process groups, by the id of their first process: a script's background jobs outlive it, as on a server. */
  readonly #groups = new Set<number>();

  constructor({ instanceId, root, shims }: { instanceId: string; root: string; shims: string }) {
    this.instanceId = instanceId;
    this.#root = root;
    this.#shims = shims;
    for (const folder of skeleton) mkdirSync(join(root, folder), { recursive: true });
  }

  addUser(user: string): void {
    mkdirSync(this.path(user, "."), { recursive: true });
  }

  path(user: string, path: string): string {
    return join(this.#root, resolve(homeOf(user), path));
  }

  run({ user, command, environment, channel }: CommandRequest): (signal: string) => void {
    const child = spawn("sh", ["-c", this.#onThisMachine(command, user)], {
      cwd: this.path(user, "."),
      env: { ...this.#loginEnvironment(user), ...environment },
      stdio: "pipe",
      detached: true,
    });
    const group = child.pid;
    if (group !== undefined) this.#groups.add(group);
    channel.pipe(child.stdin);
    // A command that does not read its input is no mistake.
    child.stdin.on("error", () => undefined);
    child.stdout.pipe(channel, { end: false });
    child.stderr.pipe(channel.stderr, { end: false });
    // Nobody listens any more: let the command run on, as sshd does, instead of blocking it on a full pipe.
    channel.once("close", () => {
      child.stdout.resume();
      child.stderr.resume();
    });
    child.on("error", (error) => {
      channel.stderr.write(`${error.message}\n`);
      channel.exit(127);
      channel.end();
    });
    child.on("close", (code, signal) => {
      if (group !== undefined && !signalGroup(group, 0)) this.#groups.delete(group);
      if (code === null) channel.exit((signal ?? "SIGKILL").slice("SIG".length), false, "");
      else channel.exit(code);
      channel.end();
    });
    return (signal) => {
      if (group !== undefined) signalGroup(group, `SIG${signal}`);
    };
  }

  powerOff(): void {
    for (const group of this.#groups) signalGroup(group, "SIGKILL");
    this.#groups.clear();
  }

  /**
   * Packer uploads a script to `/tmp/script_1234.sh` and then runs that path: paths below `/tmp` and the home folder
   * mean the instance's own. Only in command lines; what a script has inside is the script's.
   */
  #onThisMachine(command: string, user: string): string {
    return ["/tmp", homeOf(user)].reduce(
      (line, folder) =>
        line.replaceAll(new RegExp(`(?<![\\w./$}-])${folder}(?=/)`, "g"), `${this.#root}${folder}`),
      command,
    );
  }

  /** Nothing of the sandbox's own environment: a template must not pass because of what the developer has set. */
  #loginEnvironment(user: string): Record<string, string> {
    const system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    return {
      PATH: [this.#shims, ...system].join(":"),
      HOME: this.path(user, "."),
      USER: user,
      LOGNAME: user,
      SHELL: "/bin/sh",
      LANG: "C.UTF-8",
      TMPDIR: join(this.#root, "tmp"),
      // The convention of `make install`: a script that installs to `${DESTDIR:-}/opt/web` means `/opt/web` on a
      // server and the scratch folder here.
      DESTDIR: this.#root,
    };
  }
}

function homeOf(user: string): string {
  return user === "root" ? "/root" : `/home/${user.replaceAll(/[^\w.-]/g, "_")}`;
}

/** Whether the group was there to get the signal; 0 only asks. */
function signalGroup(group: number, signal: string | 0): boolean {
  try {
    return process.kill(-group, signal);
  } catch {
    return false;
  }
}
