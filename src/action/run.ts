import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { createAwsClients } from "../aws/clients.ts";
import type { Ports, Run } from "../commands/ports.ts";
import type { DeployRequest, PromoteRequest } from "../commands/request.ts";
import type { Application, Environment } from "../domain/application.ts";
import { CancelledError, InvalidInputError, type Problem } from "../domain/errors.ts";
import { createOctokit } from "../github/client.ts";
import { createRepository } from "../github/repository.ts";
import { awsOptions, clientsOf } from "./aws-options.ts";
import { overriddenSecrets, sensitiveVariables } from "../image/sensitive-variables.ts";
import { refuseUnfitTemplate } from "./check-template.ts";
import { cancelSignal } from "./cancel.ts";
import { type Checkout, pushOf, readCheckout } from "./checkout.ts";
import { textOf } from "./event-payload.ts";
import { exposedSecrets } from "./exposed-secrets.ts";
import { refuseCommentedCode } from "./foreign-code.ts";
import { readHead } from "./head.ts";
import type { Command, Inputs } from "./inputs.ts";
import { readCheckedOut } from "./config-file.ts";
import { knownSecrets, publicEnvironment } from "./known-secrets.ts";
import { createLog } from "./log.ts";
import { overallOutcome, type PublishedFacts } from "./outputs.ts";
import { resolveApplication, selectEnvironments, unlistedBranch } from "./selection.ts";
import type { Runner } from "./runner.ts";
import type { SavedState } from "./state.ts";
import { createSubprocess } from "./subprocess.ts";
import { userAgent } from "./user-agent.ts";
import { wallClock } from "./wall-clock.ts";
import { hideSecrets, secrets } from "./workflow.ts";

/** What a command is run with. */
interface Context {
  readonly inputs: Inputs;
  readonly application: Application;
  readonly environments: readonly Environment[];
  readonly version: string;
  readonly run: Run;
  /** Variables that the template marks sensitive. */
  readonly sensitive: ReadonlySet<string>;
}

/** One entry a command: adding a command without a handler does not compile. */
const HANDLERS: Readonly<Record<Command, (context: Context, ports: Ports) => Promise<void>>> = {
  deploy: async (context, ports) =>
    (await import("../commands/deploy.ts")).deploy(deployRequest(context), ports),
  bake: async (context, ports) => (await import("../commands/bake.ts")).bake(deployRequest(context), ports),
  promote: async (context, ports) =>
    (await import("../commands/promote.ts")).promote(promoteRequest(context), ports),
  rollback: async (context, ports) =>
    (await import("../commands/rollback.ts")).rollback({ ...context.inputs, ...context }, ports),
  status: async (context, ports) =>
    (await import("../commands/status.ts")).status({ ...context.inputs, ...context }, ports),
  prune: async (context, ports) =>
    (await import("../commands/prune.ts")).prune({ ...context.inputs, ...context }, ports),
};

function deployRequest(context: Context): DeployRequest {
  const { inputs, application } = context;
  return {
    ...inputs,
    ...context,
    vars: { ...application.image.vars, ...inputs.vars },
    templateEnvironment: publicEnvironment(process.env),
  };
}

function promoteRequest(context: Context): PromoteRequest {
  const from = context.inputs.from ?? context.environments[0]?.requires;
  const names = context.application.environments.map((environment) => environment.name);
  if (from === undefined) {
    throw new InvalidInputError([
      {
        where: "input from",
        message: `is missing: ${context.environments[0]?.name ?? "the environment"} requires no other in the config file`,
      },
    ]);
  }
  if (!names.includes(from)) {
    throw new InvalidInputError([
      { where: "input from", message: `there is no environment "${from}". There are: ${names.join(", ")}` },
    ]);
  }
  return { ...context.inputs, ...context, from };
}

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
  // Nobody else on the machine may read what is in it: Packer's output, the secrets of a legacy template, an inventory.
  const folder = await mkdtemp(join(runner.temporaryFolder, "kiln-"));
  state.using(folder);
  const ports = createPorts(inputs, runner, folder, facts, state);
  let configText: string | undefined;
  const readText = async (path: string): Promise<string> =>
    (configText = await readConfig(path, runner, ports));
  const [application, checkout] = await Promise.all([
    resolveApplication(inputs, runner, readText),
    bakes(inputs.command) ? checkedOut(inputs, runner, ports) : undefined,
  ]);
  // What is baked and released is what is checked out; all else is about the run's own commit.
  const run: Run =
    checkout === undefined ? runner.run : { ...runner.run, commit: checkout.commit, branch: checkout.branch };
  const sensitive = await protectSecrets(inputs, application, { run, workspace: runner.workspace });
  facts.publish({ application: application.name });
  const push = pushOf(runner, run.commit);
  const environments = selectEnvironments(application, inputs, push, run.event);
  if (environments.length === 0) {
    ports.log.notice(
      `No environment of ${application.name} lists the branch ${push?.branch ?? "of this ref"}: nothing to do`,
    );
    facts.publish({ outcome: "skipped" });
    await finished(folder, state);
    return;
  }
  if (checkout !== undefined && inputs.command === "deploy" && !inputs.anyBranch)
    guardBranches(environments, checkout, { inputs, runner, ports });
  const version = inputs.version ?? run.commit.slice(0, 12);
  if (checkout !== undefined) facts.publish({ commit: run.commit, version });
  try {
    const { workspace } = runner;
    const template = { inputs, application, workspace, environment: process.env, configText };
    if (bakes(inputs.command)) await refuseUnfitTemplate(template, ports.log);
    await HANDLERS[inputs.command]({ inputs, application, environments, version, run, sensitive }, ports);
  } catch (error) {
    // A cancelled run leaves what is still under way to its post step.
    if (!(error instanceof CancelledError)) await finished(folder, state);
    throw error;
  }
  await finished(folder, state);
  facts.publish({ outcome: overallOutcome(facts.result) });
}

/** Commands that read the checked-out files: what they bake and release is what is checked out. */
const bakes = (command: Command): boolean => command === "deploy" || command === "bake";

/**
 * What is baked and released, told where it is not what the run is for.
 * @throws KilnError where it cannot be read, or may be a stranger's
 */
async function checkedOut(inputs: Inputs, runner: Runner, ports: Ports): Promise<Checkout> {
  const { run, payload } = runner;
  const head = await readHead(runner.workspace, ports.subprocess);
  const checkout = await readCheckout(runner, head, ports.repository);
  refuseCommentedCode(runner, checkout, inputs);
  const { commit, branch } = checkout;
  if (commit !== run.commit) {
    ports.log.notice(
      `Commit ${commit.slice(0, 12)}${branch === undefined ? "" : ` of ${branch}`} is checked out, and not ${run.commit.slice(0, 12)}, which this run is for: the image and the record are of what is checked out`,
    );
  }
  const tested = run.event === "workflow_run" ? textOf(payload, "workflow_run", "head_sha") : undefined;
  if (tested !== undefined && tested !== commit) {
    ports.log.notice(
      `The workflow that started this run was for commit ${tested.slice(0, 12)}, and ${commit.slice(0, 12)} is checked out. To release the other one, give actions/checkout \`ref: \${{ github.event.workflow_run.head_sha }}\``,
    );
  }
  return checkout;
}

/**
 * Whatever names an environment, its `branches` say what it takes. A dry run changes nothing and only tells.
 * @throws KilnError for environments that list other branches
 */
function guardBranches(
  environments: readonly Environment[],
  checkout: Checkout,
  { inputs, runner, ports }: { readonly inputs: Inputs; readonly runner: Runner; readonly ports: Ports },
): void {
  const refusal = unlistedBranch(environments, checkout, runner.ref);
  if (refusal === undefined) return;
  if (!inputs.dryRun) throw refusal;
  ports.log.notice(`${refusal.message}: without \`dry-run\` this deploy is refused`);
}

async function finished(folder: string, state: SavedState): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  state.finish();
}

/** The config file as it is checked out, or, for commands that need no checkout, as it is at the run's commit. */
async function readConfig(path: string, runner: Runner, ports: Ports): Promise<string> {
  const text =
    (await readCheckedOut(runner.workspace, path)) ??
    (await ports.repository.readFile(path, runner.run.commit));
  if (text !== undefined) return text;
  throw new InvalidInputError([
    {
      where: "input config",
      message: `there is no file ${path}, neither checked out nor in the repository at ${runner.run.commit.slice(0, 12)}`,
    },
  ]);
}

/**
 * What the template and its variable files say is secret. Only commands that bake have them at hand, and only there can
 * they be seen.
 * @throws InvalidInputError where a secret is given in plain sight as well, or would not reach Packer
 */
async function protectSecrets(
  inputs: Inputs,
  application: Application,
  { run, workspace }: Pick<Runner, "run" | "workspace">,
): Promise<ReadonlySet<string>> {
  const known = knownSecrets(process.env);
  if (!bakes(inputs.command)) {
    refuse(exposedSecrets(known, inputs, application, run, new Set()));
    return new Set();
  }
  const recipe = { ...application.image, vars: { ...application.image.vars, ...inputs.vars } };
  const marked = await sensitiveVariables(recipe, workspace, process.env);
  hideSecrets(marked.values.map(({ value }) => value));
  const all = [
    ...known,
    ...marked.values.map(({ name, value }) => ({ name: `the template's sensitive variable ${name}`, value })),
  ];
  const byEnvironment = new Set([
    ...Object.keys(inputs.secretVars),
    ...Object.keys(recipe.vars).filter((name) => marked.names.has(name)),
  ]);
  refuse([
    ...exposedSecrets(all, inputs, application, run, marked.names),
    ...(await overriddenSecrets(recipe, workspace, byEnvironment)),
  ]);
  return marked.names;
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new InvalidInputError(problems);
}

function createPorts(
  inputs: Inputs,
  runner: Runner,
  temporaryFolder: string,
  facts: PublishedFacts,
  state: SavedState,
): Ports {
  const agent = userAgent(runner.run);
  const aws = createAwsClients(awsOptions(runner.run));
  const log = createLog();
  const signal = cancelSignal(() => state.cancelled(inputs.onCancel));
  return {
    clock: wallClock,
    log,
    subprocess: createSubprocess(process.env, temporaryFolder),
    signal,
    aws,
    awsOf: (environment) => clientsOf(aws, environment, runner.run),
    repository: createRepository(
      createOctokit({
        token: inputs.token,
        apiUrl: runner.apiUrl,
        userAgent: agent.map(([name, value]) => `${name}/${value}`).join(" "),
        clock: wallClock,
        log,
        signal,
        patience: inputs.timeout,
      }),
      runner.run.repository,
    ),
    facts,
    unfinished: state,
    workspace: runner.workspace,
    temporaryFolder,
    secrets,
    token: inputs.token,
  };
}
