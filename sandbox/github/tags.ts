import type { Answer, Call, Endpoint } from "./endpoint.ts";
import { actor, nodeId, sha as shaOf, SHA, supplied, text } from "./endpoint.ts";
import { invalid, notFound } from "./errors.ts";
import { git, readObject } from "./git.ts";
import type { Tag } from "./objects.ts";
import { formatTag, readTag, utc } from "./objects.ts";

/** "REST API endpoints for Git tags": objects only; a tag that anyone sees needs a ref as well. */
const DOCUMENTATION = "https://docs.github.com/rest/git/tags";

export const tagEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    pattern: /^\/git\/tags$/,
    needs: "contents=write",
    documentation: `${DOCUMENTATION}#create-a-tag-object`,
    answer: createTag,
  },
  {
    method: "GET",
    pattern: /^\/git\/tags\/([^/]+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}#get-a-tag`,
    answer: getTag,
  },
];

const TYPES = ["commit", "tree", "blob"];

function tagJson(call: Call, tag: Tag): object {
  return {
    node_id: nodeId("TA", `${call.repository.fullName}:${tag.oid}`),
    sha: tag.oid,
    url: `${call.url}/git/tags/${tag.oid}`,
    tagger:
      tag.tagger === undefined
        ? null
        : { name: tag.tagger.name, email: tag.tagger.email, date: utc(tag.tagger) },
    object: { sha: tag.object, type: tag.type, url: `${call.url}/git/${tag.type}s/${tag.object}` },
    tag: tag.name,
    message: tag.message,
    // The endpoint takes no signature: what it creates is never verified.
    verification: { verified: false, reason: "unsigned", signature: null, payload: null, verified_at: null },
  };
}

async function createTag(call: Call): Promise<Answer> {
  const { path } = call.repository;
  supplied(call.body, "tag", "message", "object", "type");
  const [name, message, type] = [text(call.body, "tag"), text(call.body, "message"), text(call.body, "type")];
  const sha = shaOf(call.body, "object");
  // "Normally this is a commit but it can also be a tree or a blob."
  if (!TYPES.includes(type)) {
    throw invalid(`Invalid request.\n\nFor 'properties/type', "${type}" is not one of ${TYPES.join(", ")}.`);
  }
  const object = await readObject(path, sha);
  if (object === undefined) throw invalid("Object does not exist");
  if (object.type !== type) throw invalid(`Object ${sha} is a ${object.type}, not a ${type}`);
  const input = formatTag({ object: sha, type, name, tagger: actor(call.body, "tagger", call), message });
  // mktag and not hash-object: it checks the tag as git's fsck does, the tag's name included.
  const result = await git(path, ["mktag"], { input });
  if (result.code !== 0) throw invalid(`${name} is not a valid tag name.`);
  const oid = result.stdout.toString().trim();
  const headers = { location: `${call.url}/git/tags/${oid}` };
  return { status: 201, body: tagJson(call, await tagOf(call, oid)), headers };
}

async function getTag(call: Call): Promise<Answer> {
  return { status: 200, body: tagJson(call, await tagOf(call, call.path[0] ?? "")) };
}

async function tagOf(call: Call, sha: string): Promise<Tag> {
  const object = SHA.test(sha) ? await readObject(call.repository.path, sha) : undefined;
  if (object?.type !== "tag") throw notFound();
  return readTag(object);
}
