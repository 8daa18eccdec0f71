import type { Answer, Call, Endpoint } from "./endpoint.ts";
import { nodeId } from "./endpoint.ts";
import { notFound } from "./errors.ts";

/** The repository itself and its workflow runs: what does not come from the Git database. */
export const aboutEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    pattern: /^$/,
    needs: "metadata=read",
    documentation: "https://docs.github.com/rest/repos/repos#get-a-repository",
    answer: getRepository,
  },
  {
    method: "GET",
    pattern: /^\/actions\/runs\/(\d+)$/,
    needs: "actions=read",
    documentation: "https://docs.github.com/rest/actions/workflow-runs#get-a-workflow-run",
    answer: getRun,
  },
];

async function getRepository(call: Call): Promise<Answer> {
  const { repository, token } = call;
  const body = {
    id: 1,
    node_id: nodeId("R", repository.fullName),
    name: repository.name,
    full_name: repository.fullName,
    owner: { login: repository.owner, type: "Organization" },
    private: repository.private,
    visibility: repository.private ? "private" : "public",
    html_url: repository.htmlUrl,
    url: call.url,
    default_branch: repository.defaultBranch,
    archived: false,
    fork: false,
    permissions: { admin: false, push: token.permissions.contents === "write", pull: true },
  };
  return Promise.resolve({ status: 200, body });
}

async function getRun(call: Call): Promise<Answer> {
  const run = call.repository.runs.get(Number(call.path[0]));
  if (run === undefined) throw notFound();
  return Promise.resolve({ status: 200, body: { ...run, url: `${call.url}/actions/runs/${run.id}` } });
}
