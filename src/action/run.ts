import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as core from "@actions/core";
import { createAwsClients } from "../aws/clients.ts";
import { bake } from "../commands/bake.ts";
import { deploy } from "../commands/deploy.ts";
import type { Ports } from "../commands/ports.ts";
import type { DeployRequest } from "../commands/request.ts";
import { CancelledError } from "../domain/errors.ts";
import { createOctokit } from "../github/client.ts";
import { createRepository } from "../github/repository.ts";
import { cancelSignal } from "./cancel.ts";
import type { Command, Inputs } from "./inputs.ts";
import { createLog } from "./log.ts";
import { overallOutcome, type PublishedFacts } from "./outputs.ts";
import { resolveApplication, selectEnvironments } from "./selection.ts";
import type { Runner } from "./runner.ts";
import type { SavedState } from "./state.ts";
import { createSubprocess } from "./subprocess.ts";
import { userAgent } from "./user-agent.ts";
import { wallClock } from "./wall-clock.ts";

/** One entry a command: adding a command without a handler does not compile. */
const HANDLERS: Readonly<Record<Command, (request: DeployRequest, ports: Ports) => Promise<void>>> = {
  deploy,
  bake,
};

/**
 * Runs a command with its collaborators.
 * @throws whatever the command throws, after its facts were published
 */
export async function runCommand(
  inputs: Inputs,
  runner: Runner,
  facts: PublishedFacts,
  state: SavedState,
): Promise<void> {
  mask(inputs);
  const { run } = runner;
  const version = inputs.version ?? run.commit.slice(0, 12);
  const ports = createPorts(inputs, runner, facts, state);
  const application = await resolveApplication(inputs, runner, (path) =>
    readFile(join(runner.workspace, path), "utf8"),
  );
  facts.publish({ application: application.name, commit: run.commit, version });
  const environments = selectEnvironments(application, inputs, run);
  if (environments.length === 0) {
    core.notice(
      `No environment of ${application.name} lists the branch ${run.branch ?? "of this ref"}: nothing to do`,
    );
    facts.publish({ outcome: "skipped" });
    state.finish();
    return;
  }
  const request = {
    ...inputs,
    application,
    environments,
    version,
    run,
    vars: { ...application.image.vars, ...inputs.vars },
    allowOlder: false,
  };
  try {
    await HANDLERS[inputs.command](request, ports);
  } catch (error) {
    // A cancelled run leaves what is still under way to its post step.
    if (!(error instanceof CancelledError)) state.finish();
    throw error;
  }
  state.finish();
  facts.publish({ outcome: overallOutcome(facts.result) });
}

/** From here on the runner shows *** for these, whoever prints them. */
function mask(inputs: Inputs): void {
  core.setSecret(inputs.token);
  for (const value of Object.values(inputs.secretVars)) {
    for (const line of [value, ...value.split("\n")]) if (line.trim() !== "") core.setSecret(line);
  }
}

function createPorts(inputs: Inputs, runner: Runner, facts: PublishedFacts, state: SavedState): Ports {
  const agent = userAgent(runner.run);
  return {
    clock: wallClock,
    log: createLog(),
    subprocess: createSubprocess(process.env, runner.temporaryFolder),
    signal: cancelSignal(),
    aws: createAwsClients({ userAgent: agent }),
    repository: createRepository(
      createOctokit({
        token: inputs.token,
        apiUrl: runner.apiUrl,
        userAgent: agent.map(([name, value]) => `${name}/${value}`).join(" "),
      }),
      runner.run.repository,
    ),
    facts,
    unfinished: state,
    workspace: runner.workspace,
    temporaryFolder: runner.temporaryFolder,
    token: inputs.token,
  };
}
