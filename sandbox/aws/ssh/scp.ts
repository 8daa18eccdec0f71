import { createReadStream, createWriteStream, type Stats } from "node:fs";
import { chmod, mkdir, readdir, stat, utimes } from "node:fs/promises";
import { basename, join } from "node:path";
import { once } from "node:events";
import { finished } from "node:stream/promises";
import type { ServerChannel } from "ssh2";
import { ByteReader } from "./byte-reader.ts";

/**
 * The far end of `scp`, which is how Packer moves files by default. Spoken here instead of by starting `scp`, so that
 * a machine without OpenSSH's client can run the sandbox, and absolute paths land in the instance's folder.
 *
 * The protocol is rcp's: one-line records (`C0644 12 name`, `D0755 0 name`, `E`, `T` with times) and a zero byte as
 * the answer to each.
 */
export interface ScpCommand {
  /** `sink` (`-t`) takes files, `source` (`-f`) gives them. */
  readonly role: "sink" | "source";
  readonly recursive: boolean;
  readonly keepTimes: boolean;
  /** `-d`: the target has to be a folder. */
  readonly intoFolder: boolean;
  readonly path: string;
}

/** The command line that a client sends to start the far end; undefined where it is another command. */
export function parseScp(command: string): ScpCommand | undefined {
  const [program, ...words] = shellWords(command);
  if (program === undefined || basename(program) !== "scp") return undefined;
  const flags = words
    .filter((word) => /^-[a-z]+$/i.test(word))
    .join("")
    .replaceAll("-", "");
  const role = flags.includes("t") ? "sink" : flags.includes("f") ? "source" : undefined;
  if (role === undefined) return undefined;
  return {
    role,
    recursive: flags.includes("r"),
    keepTimes: flags.includes("p"),
    intoFolder: flags.includes("d"),
    path: words.findLast((word) => !word.startsWith("-")) ?? ".",
  };
}

/** Splits as far as clients quote: single and double quotes, backslashes. */
function shellWords(line: string): string[] {
  const words = line.trim().match(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? [];
  return words.map((word) =>
    [...word.matchAll(/'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)/g)]
      .map(([, single, double, escaped, plain]) =>
        [single, double?.replaceAll(/\\(.)/g, "$1"), escaped, plain].join(""),
      )
      .join(""),
  );
}

/** Runs the far end on a channel to its end. `path` is the command's, on this machine. */
export async function runScp(command: ScpCommand, path: string, channel: ServerChannel): Promise<void> {
  const reader = new ByteReader(channel);
  try {
    if (command.role === "sink") await new Sink(channel, reader).receive(command, path);
    else await sendAll(command, path, channel, reader);
    channel.exit(0);
  } catch (error) {
    // 1 is the protocol's "warning": the client shows the line and gives this file up.
    channel.write(`\u0001scp: ${error instanceof Error ? error.message : String(error)}\n`);
    channel.exit(1);
  }
  channel.end();
}

interface Times {
  readonly accessed: number;
  readonly modified: number;
}

class Sink {
  readonly #channel: ServerChannel;
  readonly #reader: ByteReader;

  constructor(channel: ServerChannel, reader: ByteReader) {
    this.#channel = channel;
    this.#reader = reader;
  }

  async receive(command: ScpCommand, path: string): Promise<void> {
    if (command.intoFolder && !(await isFolder(path))) throw new Error(`${path}: Not a directory`);
    this.#acknowledge();
    await this.#records(path);
  }

  /** Takes records until the folder, or the whole transfer, ends. As in rcp, the target itself is the name where it is no folder. */
  async #records(target: string): Promise<void> {
    const targetIsFolder = await isFolder(target);
    let times: Times | undefined;
    for (let line = await this.#reader.line(); line !== undefined; line = await this.#reader.line()) {
      if (line === "E") {
        this.#acknowledge();
        return;
      }
      if (line.startsWith("\u0001") || line.startsWith("\u0002")) throw new Error(line.slice(1));
      const time = /^T(\d+) \d+ (\d+) \d+$/.exec(line);
      if (time !== null) {
        times = { modified: Number(time[1]), accessed: Number(time[2]) };
        this.#acknowledge();
        continue;
      }
      const { kind, mode, size, name } = parseRecord(line);
      const path = targetIsFolder ? join(target, name) : target;
      if (kind === "D") await this.#folder(path, mode);
      else await this.#file(path, mode, size);
      if (times !== undefined) await utimes(path, times.accessed, times.modified);
      times = undefined;
    }
  }

  async #folder(path: string, mode: number): Promise<void> {
    if (!(await isFolder(path))) await mkdir(path);
    this.#acknowledge();
    await this.#records(path);
    await chmod(path, mode);
  }

  async #file(path: string, mode: number, size: number): Promise<void> {
    const file = createWriteStream(path, { mode });
    await once(file, "open");
    this.#acknowledge();
    for await (const chunk of this.#reader.take(size)) {
      if (!file.write(chunk)) await once(file, "drain");
    }
    file.end();
    await finished(file);
    await chmod(path, mode);
    await this.#reader.status();
    this.#acknowledge();
  }

  #acknowledge(): void {
    this.#channel.write("\0");
  }
}

function parseRecord(line: string): { kind: string; mode: number; size: number; name: string } {
  const [, kind, mode, size, name] = /^([CD])([0-7]{4}) (\d+) ([^/]+)$/.exec(line) ?? [];
  if (kind === undefined || name === undefined || name === "." || name === "..") {
    throw new Error(`protocol error: ${JSON.stringify(line)}`);
  }
  return { kind, mode: Number.parseInt(mode ?? "", 8), size: Number(size), name };
}

async function sendAll(
  command: ScpCommand,
  path: string,
  channel: ServerChannel,
  reader: ByteReader,
): Promise<void> {
  const send = async (path: string): Promise<void> => {
    const stats = await stat(path);
    if (stats.isDirectory() && !command.recursive) throw new Error(`${path}: not a regular file`);
    if (command.keepTimes) await say(`T${seconds(stats.mtimeMs)} 0 ${seconds(stats.atimeMs)} 0\n`);
    await say(`${stats.isDirectory() ? "D" : "C"}${permissions(stats)} ${sizeOf(stats)} ${basename(path)}\n`);
    if (stats.isDirectory()) {
      for (const name of (await readdir(path)).sort()) await send(join(path, name));
      await say("E\n");
      return;
    }
    for await (const chunk of createReadStream(path)) {
      if (!channel.write(chunk)) await once(channel, "drain");
    }
    await say("\0");
  };
  const say = async (record: string): Promise<void> => {
    channel.write(record);
    await reader.status();
  };
  await reader.status();
  await send(path);
}

function permissions(stats: Stats): string {
  return (stats.mode & 0o7777).toString(8).padStart(4, "0");
}

function sizeOf(stats: Stats): number {
  return stats.isDirectory() ? 0 : stats.size;
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}

async function isFolder(path: string): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.isDirectory() ?? false;
}
