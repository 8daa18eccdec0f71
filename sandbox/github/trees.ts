import type { Answer, Body, Call, Endpoint } from "./endpoint.ts";
import { isBody, list, nodeId, SHA, supplied, text } from "./endpoint.ts";
import { invalid, notFound } from "./errors.ts";
import { gitText, readObject, writeObject } from "./git.ts";
import { resolveCommit } from "./commits.ts";
import type { TreeEntry } from "./repository.ts";

const DOCUMENTATION = "https://docs.github.com/rest";

export const treeEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    pattern: /^\/git\/blobs$/,
    needs: "contents=write",
    documentation: `${DOCUMENTATION}/git/blobs#create-a-blob`,
    answer: createBlob,
  },
  {
    method: "GET",
    pattern: /^\/git\/blobs\/([^/]+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/git/blobs#get-a-blob`,
    answer: getBlob,
  },
  {
    method: "POST",
    pattern: /^\/git\/trees$/,
    needs: "contents=write",
    accepted: "contents=write; contents=write,workflows=write",
    documentation: `${DOCUMENTATION}/git/trees#create-a-tree`,
    answer: createTree,
  },
  {
    method: "GET",
    pattern: /^\/git\/trees\/(.+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/git/trees#get-a-tree`,
    answer: getTree,
  },
  {
    method: "GET",
    pattern: /^\/contents(?:\/(.*))?$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}/repos/contents#get-repository-content`,
    answer: getContents,
  },
];

interface ListedEntry {
  readonly mode: string;
  readonly type: string;
  readonly sha: string;
  readonly size?: number;
  readonly path: string;
}

/** Base64 in lines of 60, as GitHub sends it. */
function base64(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll(/.{1,60}/g, "$&\n");
}

async function createBlob(call: Call): Promise<Answer> {
  const content = text(call.body, "content");
  const encoding = call.body["encoding"] === "base64" ? "base64" : "utf8";
  const sha = await writeObject(call.repository.path, "blob", Buffer.from(content, encoding));
  const url = `${call.url}/git/blobs/${sha}`;
  return { status: 201, body: { sha, url }, headers: { location: url } };
}

async function getBlob(call: Call): Promise<Answer> {
  const sha = call.path[0] ?? "";
  const object = SHA.test(sha) ? await readObject(call.repository.path, sha) : undefined;
  if (object?.type !== "blob") throw notFound();
  if (raw(call)) return rawAnswer(object.body);
  const body = {
    sha,
    node_id: nodeId("B", `${call.repository.fullName}:${sha}`),
    size: object.body.length,
    url: `${call.url}/git/blobs/${sha}`,
    content: base64(object.body),
    encoding: "base64",
  };
  return { status: 200, body };
}

async function createTree(call: Call): Promise<Answer> {
  const { repository, body } = call;
  supplied(body, "tree");
  const base = body["base_tree"] === undefined ? undefined : text(body, "base_tree");
  if (base !== undefined && (await readObject(repository.path, `${base}^{tree}`)) === undefined) {
    throw invalid("base_tree is not a valid tree oid");
  }
  const entries = await Promise.all(
    list(body, "tree")
      .filter(isBody)
      .map(async (entry) => treeEntry(call, entry)),
  );
  const sha = await repository.writeTree(base, entries);
  if (sha === undefined) throw invalid("Invalid tree info");
  const answer = await treeJson(call, sha, false);
  return { status: 201, body: answer, headers: { location: `${call.url}/git/trees/${sha}` } };
}

async function treeEntry(call: Call, entry: Body): Promise<TreeEntry> {
  const { path } = call.repository;
  const place = { path: text(entry, "path"), mode: text(entry, "mode") };
  // "If the value is null then the file will be deleted."
  if (entry["sha"] === null) return { ...place, sha: null };
  if (typeof entry["content"] === "string") {
    return { ...place, sha: await writeObject(path, "blob", entry["content"]) };
  }
  const sha = text(entry, "sha");
  const expected = place.mode === "040000" ? "tree" : "blob";
  // A submodule's commit (mode 160000) is in another repository.
  if (place.mode !== "160000" && (await readObject(path, sha))?.type !== expected) {
    throw invalid(`tree.sha ${sha} is not a valid ${expected}`);
  }
  return { ...place, sha };
}

/** "sha: the SHA1 value or ref (branch or tag) name of the tree". */
async function getTree(call: Call): Promise<Answer> {
  const name = call.path[0] ?? "";
  const tree = SHA.test(name)
    ? (await readObject(call.repository.path, `${name}^{tree}`))?.oid
    : (await resolveCommit(call, name))?.tree;
  if (tree === undefined) throw notFound();
  // "Setting this parameter to any value, including 0 and false, makes the listing recursive."
  return { status: 200, body: await treeJson(call, tree, call.query.has("recursive")) };
}

async function listTree(path: string, tree: string, recursive: boolean): Promise<ListedEntry[]> {
  const listing = await gitText(path, ["ls-tree", "-z", "-l", ...(recursive ? ["-r", "-t"] : []), tree]);
  return listing
    .split("\0")
    .filter((line) => line !== "")
    .map((line) => {
      const [info = "", name = ""] = line.split("\t");
      const [mode = "", type = "", sha = "", size = "-"] = info.split(/ +/);
      const entry: ListedEntry = { mode, type, sha, path: name };
      return size === "-" ? entry : Object.assign(entry, { size: Number(size) });
    });
}

async function treeJson(call: Call, sha: string, recursive: boolean): Promise<object> {
  const entries = await listTree(call.repository.path, sha, recursive);
  return {
    sha,
    url: `${call.url}/git/trees/${sha}`,
    tree: entries.map((entry) =>
      Object.assign(entry, { url: `${call.url}/git/${entry.type}s/${entry.sha}` }),
    ),
    truncated: false,
  };
}

async function getContents(call: Call): Promise<Answer> {
  const { repository } = call;
  const ref = call.query.get("ref") ?? repository.defaultBranch;
  const commit = await resolveCommit(call, ref);
  if (commit === undefined) throw notFound(`No commit found for the ref ${ref}`);
  const path = (call.path[0] ?? "").replace(/\/$/, "");
  const object = await readObject(repository.path, path === "" ? commit.tree : `${commit.oid}:${path}`);
  if (object?.type === "tree") {
    const entries = await listTree(repository.path, object.oid, false);
    const folder = path === "" ? "" : `${path}/`;
    const body = entries.map((entry) =>
      contentJson(call, ref, Object.assign(entry, { path: folder + entry.path })),
    );
    return { status: 200, body };
  }
  if (object?.type !== "blob") throw notFound();
  if (raw(call)) return rawAnswer(object.body);
  const entry = { mode: "100644", type: "blob", sha: object.oid, size: object.body.length, path };
  const body = { ...contentJson(call, ref, entry), content: base64(object.body), encoding: "base64" };
  return { status: 200, body };
}

function contentJson(call: Call, ref: string, entry: ListedEntry): object {
  const type = entry.type === "tree" ? "dir" : "file";
  const url = `${call.url}/contents/${entry.path}?ref=${encodeURIComponent(ref)}`;
  const git = `${call.url}/git/${entry.type}s/${entry.sha}`;
  const html = `${call.repository.htmlUrl}/${entry.type}/${ref}/${entry.path}`;
  return {
    type,
    name: entry.path.split("/").at(-1),
    path: entry.path,
    sha: entry.sha,
    size: entry.size ?? 0,
    url,
    git_url: git,
    html_url: html,
    download_url: null,
    _links: { self: url, git, html },
  };
}

/** The media types `application/vnd.github.raw+json` and, before 2022, `application/vnd.github.v3.raw`. */
function raw(call: Call): boolean {
  return /vnd\.github\.(?:v3\.)?raw/.test(call.accept);
}

function rawAnswer(body: Buffer): Answer {
  return { status: 200, body, headers: { "content-type": "application/vnd.github.raw+json; charset=utf-8" } };
}
