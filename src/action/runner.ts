import type { Run } from "../commands/ports.ts";
import { KilnError } from "../domain/errors.ts";
import { readPayload } from "./event-payload.ts";

/** The runner's world, read once: GitHub's default variables, and the inputs as the runner passes them. */
export interface Runner {
  readonly run: Run;
  /** The folder that the repository is checked out in: the job's, or the step's `working-directory` in it. */
  readonly workspace: string;
  readonly temporaryFolder: string;
  readonly apiUrl: string;
  /** The ref that the run is for: `refs/heads/main`, `refs/tags/v1`, `refs/pull/1/merge`. */
  readonly ref: string;
  /** What GitHub tells about the event that started the run; undefined where that cannot be read. */
  readonly payload: unknown;
  /** Every input that the step set, known or not. */
  readonly inputs: Readonly<Record<string, string>>;
}

/** @throws KilnError where this does not run as a step of a workflow */
export function readRunner(env: NodeJS.ProcessEnv): Runner {
  const missing = NEEDED.filter((name) => (env[name] ?? "") === "");
  if (missing.length > 0) {
    throw new KilnError(
      `Kiln runs as a step of a GitHub Actions workflow; the runner did not set ${missing.join(", ")}`,
    );
  }
  const value = (name: (typeof NEEDED)[number]): string => env[name] ?? "";
  const serverUrl = env["GITHUB_SERVER_URL"] ?? "https://github.com";
  return {
    workspace: value("GITHUB_WORKSPACE"),
    temporaryFolder: value("RUNNER_TEMP"),
    apiUrl: env["GITHUB_API_URL"] ?? "https://api.github.com",
    ref: value("GITHUB_REF"),
    payload: readPayload(env["GITHUB_EVENT_PATH"]),
    inputs: readInputs(env),
    run: {
      repository: value("GITHUB_REPOSITORY"),
      id: value("GITHUB_RUN_ID"),
      attempt: env["GITHUB_RUN_ATTEMPT"] ?? "1",
      url: `${serverUrl}/${value("GITHUB_REPOSITORY")}/actions/runs/${value("GITHUB_RUN_ID")}`,
      actor: env["GITHUB_ACTOR"] ?? "unknown",
      commit: value("GITHUB_SHA"),
      branch: /^refs\/heads\/(.+)$/.exec(value("GITHUB_REF"))?.[1],
      event: value("GITHUB_EVENT_NAME"),
      serverUrl,
    },
  };
}

const NEEDED = [
  "GITHUB_WORKSPACE",
  "RUNNER_TEMP",
  "GITHUB_REPOSITORY",
  "GITHUB_RUN_ID",
  "GITHUB_SHA",
  "GITHUB_REF",
  "GITHUB_EVENT_NAME",
] as const;

/** The runner passes each input as `INPUT_` and its name in capitals, unknown ones too; an empty one is not set. */
function readInputs(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith("INPUT_") && value !== undefined && value !== ""
        ? [[name.slice("INPUT_".length).toLowerCase(), value]]
        : [],
    ),
  );
}
