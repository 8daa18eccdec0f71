import type { Answer, Call, Endpoint } from "./endpoint.ts";
import { nodeId, paged, sha as shaOf, supplied, text } from "./endpoint.ts";
import { forbidden, invalid, notFound } from "./errors.ts";
import type { GitRef } from "./git.ts";
import { git, listRefs, readObject } from "./git.ts";
import type { RefOutcome } from "./repository.ts";
import { violation } from "./rulesets.ts";

/** "REST API endpoints for Git references". */
const DOCUMENTATION = "https://docs.github.com/rest/git/refs";

/** The document's two sets for creating and updating: the second when workflow files change. */
const WRITES = "contents=write; contents=write,workflows=write";

export const refEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    pattern: /^\/git\/refs$/,
    needs: "contents=write",
    accepted: WRITES,
    documentation: `${DOCUMENTATION}#create-a-reference`,
    answer: createRef,
  },
  {
    method: "GET",
    pattern: /^\/git\/ref\/(.+)$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}#get-a-reference`,
    answer: getRef,
  },
  {
    method: "GET",
    pattern: /^\/git\/matching-refs(?:\/(.*))?$/,
    needs: "contents=read",
    documentation: `${DOCUMENTATION}#list-matching-references`,
    answer: matchingRefs,
  },
  {
    method: "PATCH",
    pattern: /^\/git\/refs\/(.+)$/,
    needs: "contents=write",
    accepted: WRITES,
    documentation: `${DOCUMENTATION}#update-a-reference`,
    answer: updateRef,
  },
  {
    method: "DELETE",
    pattern: /^\/git\/refs\/(.+)$/,
    needs: "contents=write",
    documentation: `${DOCUMENTATION}#delete-a-reference`,
    answer: deleteRef,
  },
];

/** The messages as reported: github/rest-api-description #4887 and #2746, octokit/octokit.js #562. */
const REFUSALS: Record<Exclude<RefOutcome, "done">, string> = {
  exists: "Reference already exists",
  missing: "Reference does not exist",
  // Also what a name below or above an existing ref meets: microsoft/vscode-remote-repositories-github #122.
  rejected: "Reference update failed",
};

function refJson(call: Call, ref: GitRef): object {
  return {
    ref: ref.name,
    node_id: nodeId("REF", `${call.repository.fullName}:${ref.name}`),
    url: `${call.url}/git/${ref.name}`,
    object: { sha: ref.oid, type: ref.type, url: `${call.url}/git/${ref.type}s/${ref.oid}` },
  };
}

async function createRef(call: Call): Promise<Answer> {
  const { repository, token } = call;
  supplied(call.body, "ref", "sha");
  const name = text(call.body, "ref");
  const sha = shaOf(call.body, "sha");
  // "If it doesn't start with 'refs' and have at least two slashes, it will be rejected."
  if (!/^refs\/[^/]+\/./.test(name)) {
    throw invalid("Reference name must start with 'refs/' and contain at least two slashes.");
  }
  const valid = await git(repository.path, ["check-ref-format", name]);
  if (valid.code !== 0) throw invalid(`${name} is not a valid ref name.`);
  const object = await readObject(repository.path, sha);
  if (object === undefined) throw invalid("Object does not exist");
  if (token.permissions.workflows !== true && (await repository.needsWorkflows(sha))) {
    throw forbidden(WRITES);
  }
  const violated = violation(repository.rulesets, token.login, name);
  if (violated !== undefined) throw invalid(violated);
  const outcome = await repository.createRef(name, sha);
  if (outcome !== "done") throw invalid(REFUSALS[outcome]);
  const body = refJson(call, { name, oid: sha, type: object.type });
  return { status: 201, body, headers: { location: `${call.url}/git/${name}` } };
}

/** Only the ref of exactly this name: since 2019 a mere prefix is for `matching-refs`. */
async function getRef(call: Call): Promise<Answer> {
  const { repository } = call;
  const name = `refs/${call.path[0]}`;
  const oid = await repository.refTarget(name);
  const object = oid === undefined ? undefined : await readObject(repository.path, oid);
  if (object === undefined) throw notFound();
  return { status: 200, body: refJson(call, { name, oid: object.oid, type: object.type }) };
}

/** All refs whose name begins with the prefix, which need not end at a slash: `heads/feature` finds `featureA`. */
async function matchingRefs(call: Call): Promise<Answer> {
  const prefix = `refs/${call.path[0] ?? ""}`;
  const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  const refs = await listRefs(call.repository.path, folder);
  const found = refs.filter(({ name }) => name.startsWith(prefix)).map((ref) => refJson(call, ref));
  if (call.matchingRefs === "whole") return { status: 200, body: found };
  const { items, headers } = paged(found, call, `git/matching-refs/${call.path[0] ?? ""}`);
  return { status: 200, body: items, headers };
}

async function updateRef(call: Call): Promise<Answer> {
  const { repository, token } = call;
  const name = `refs/${call.path[0]}`;
  const sha = shaOf(call.body, "sha");
  const old = await repository.refTarget(name);
  if (old === undefined) throw invalid(REFUSALS.missing);
  const object = await readObject(repository.path, sha);
  if (object === undefined) throw invalid("Object does not exist");
  if (token.permissions.workflows !== true && (await repository.needsWorkflows(sha))) {
    throw forbidden(WRITES);
  }
  if (call.body["force"] !== true) {
    const forward = await git(repository.path, ["merge-base", "--is-ancestor", old, sha]);
    if (forward.code !== 0) throw invalid("Update is not a fast forward");
  }
  const outcome = await repository.updateRef(name, sha, old);
  if (outcome !== "done") throw invalid(REFUSALS[outcome]);
  return { status: 200, body: refJson(call, { name, oid: sha, type: object.type }) };
}

async function deleteRef(call: Call): Promise<Answer> {
  const outcome = await call.repository.deleteRef(`refs/${call.path[0]}`);
  if (outcome !== "done") throw invalid(REFUSALS[outcome]);
  return { status: 204 };
}
