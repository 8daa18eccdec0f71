import { execFile } from "node:child_process";

/** What a git process said. */
export interface GitResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const OBJECT_TYPES = ["commit", "tag", "tree", "blob"] as const;

export type ObjectType = (typeof OBJECT_TYPES)[number];

/** One object of the repository's database. */
export interface GitObject {
  readonly oid: string;
  readonly type: ObjectType;
  readonly body: Buffer;
}

/** One line of `git for-each-ref`. */
export interface GitRef {
  readonly name: string;
  readonly oid: string;
  readonly type: ObjectType;
}

export interface GitOptions {
  readonly input?: string | Buffer;
  /** Another index than the repository's own, for building trees. */
  readonly index?: string;
}

/** The name that git gives to "no object": as the expected old value of a ref it asserts that the ref is absent. */
export const NO_OBJECT = "0".repeat(40);

/**
 * Runs git plumbing on a bare repository, without a shell. The person's own configuration is shut out: a hook
 * path, a signing key or a default branch of theirs would make the sandbox behave differently on their machine.
 */
export async function git(
  directory: string,
  args: readonly string[],
  options: GitOptions = {},
): Promise<GitResult> {
  const env: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    LC_ALL: "C.UTF-8",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    ...(options.index === undefined ? {} : { GIT_INDEX_FILE: options.index }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<GitResult>();
  const child = execFile(
    "git",
    [`--git-dir=${directory}`, ...args],
    { env, encoding: "buffer", maxBuffer: 2 ** 30 },
    (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(error);
      else resolve({ code: Number(error?.code ?? 0), stdout, stderr: stderr.toString().trim() });
    },
  );
  // git may end before it has read everything (a bad object name, say); its exit code tells, not the broken pipe.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(options.input ?? "");
  return promise;
}

/** As {@link git}, for what cannot fail unless the sandbox itself is wrong. The output without the last newline. */
export async function gitText(
  directory: string,
  args: readonly string[],
  options: GitOptions = {},
): Promise<string> {
  const result = await git(directory, args, options);
  if (result.code !== 0) throw new Error(`git ${args.join(" ")}: ${result.stderr}`);
  return result.stdout.toString().trimEnd();
}

/**
 * The objects behind `names` (anything git resolves: a sha, a ref, `main:path`, `v1^{commit}`), undefined where
 * there is none. One process for all of them: a listing of a hundred tags must not start a hundred.
 */
export async function readObjects(
  directory: string,
  names: readonly string[],
): Promise<(GitObject | undefined)[]> {
  if (names.length === 0) return [];
  // The protocol is one name a line; no object's name has a line break in it.
  const input = names.map((name) => `${name.includes("\n") ? NO_OBJECT : name}\n`).join("");
  const { stdout } = await git(directory, ["cat-file", "--batch"], { input });
  const objects: (GitObject | undefined)[] = [];
  for (let at = 0; objects.length < names.length;) {
    const end = stdout.indexOf(10, at);
    const header = /^([0-9a-f]{40}) (commit|tag|tree|blob) (\d+)$/.exec(stdout.toString("utf8", at, end));
    at = end + 1;
    if (end === -1) throw new Error("git cat-file --batch ended early");
    if (header === null) {
      objects.push(undefined);
      continue;
    }
    const size = Number(header[3]);
    objects.push({ oid: header[1] ?? "", type: objectType(header[2]), body: stdout.subarray(at, at + size) });
    at += size + 1;
  }
  return objects;
}

/** The object behind one name. */
export async function readObject(directory: string, name: string): Promise<GitObject | undefined> {
  return (await readObjects(directory, [name]))[0];
}

/** Writes an object as it is and returns its sha. */
export async function writeObject(
  directory: string,
  type: ObjectType,
  body: string | Buffer,
): Promise<string> {
  return gitText(directory, ["hash-object", "-w", "-t", type, "--stdin"], { input: body });
}

/** The refs below the folder `prefix` ("refs/tags/"), by name; `count` stops git early. */
export async function listRefs(
  directory: string,
  prefix: string,
  options: { readonly descending?: boolean; readonly count?: number } = {},
): Promise<GitRef[]> {
  const text = await gitText(directory, [
    "for-each-ref",
    "--format=%(objectname) %(objecttype) %(refname)",
    `--sort=${options.descending === true ? "-" : ""}refname`,
    ...(options.count === undefined ? [] : [`--count=${options.count}`]),
    prefix,
  ]);
  return text === "" ? [] : text.split("\n").map(readRefLine);
}

function readRefLine(line: string): GitRef {
  const [oid = "", type = "", name = ""] = line.split(" ");
  return { oid, type: objectType(type), name };
}

/** The type that git wrote. */
export function objectType(text: string | undefined): ObjectType {
  const type = OBJECT_TYPES.find((known) => known === text);
  if (type === undefined) throw new Error(`git knows no object type ${text}`);
  return type;
}
