import { stripVTControlCharacters } from "node:util";
import { GetConsoleOutputCommand } from "@aws-sdk/client-ec2";
import { DescribeTargetHealthCommand } from "@aws-sdk/client-elastic-load-balancing-v2";
import type { AwsClients } from "../aws/clients.ts";
import type { Target } from "../domain/application.ts";
import { printable } from "../domain/printable.ts";
import { hasCode } from "../domain/errors.ts";
import { failedReplacements, lostInstances, readActivities } from "./failed-replacements.ts";
import { remedyFor } from "./known-causes.ts";

export interface FailedRollout {
  readonly target: Target;
  /** The group's target groups; none where it is behind no load balancer. */
  readonly targetGroupArns: readonly string[];
  /** When the refresh started. */
  readonly since: Date | undefined;
}

/** What one read found: lines to show, texts that may have a known cause, and instances that something is wrong with. */
interface Finding {
  readonly lines: readonly string[];
  readonly texts: readonly string[];
  readonly suspects: readonly string[];
}

/**
 * Why a rollout failed, as far as AWS tells: launches that failed, instances that did not last, targets that the load
 * balancer calls unhealthy, the remedies that are known, and the end of the first bad instance's console.
 *
 * It never fails: what cannot be read is a line that says so, for the rollout's own error must be seen. No line can be
 * a command for the runner, whatever an instance wrote to its console.
 */
export async function explainFailure(clients: AwsClients, failed: FailedRollout): Promise<readonly string[]> {
  const { target, targetGroupArns } = failed;
  const findings = await Promise.all([
    bestEffort("The scaling activities", () => launches(clients, failed)),
    ...targetGroupArns.map((arn) =>
      bestEffort(`The health of the targets in ${targetGroupName(arn)}`, () =>
        unhealthyTargets(clients, target, arn),
      ),
    ),
  ]);
  const remedies = new Set(findings.flatMap(({ texts }) => texts).flatMap((text) => remedyFor(text) ?? []));
  const [suspect] = findings.flatMap(({ suspects }) => suspects);
  const console =
    suspect === undefined
      ? NOTHING
      : await bestEffort(`The console of ${suspect}`, () => endOfConsole(clients, target, suspect));
  return [
    ...findings.flatMap(({ lines }) => lines),
    ...[...remedies].map((remedy) => `Known cause: ${remedy}`),
    ...console.lines,
  ];
}

const NOTHING: Finding = { lines: [], texts: [], suspects: [] };

async function bestEffort(what: string, read: () => Promise<Finding>): Promise<Finding> {
  try {
    return await read();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ...NOTHING, lines: [`${oneLine(what)} could not be read: ${oneLine(why)}`] };
  }
}

/** Texts and groups of instances shown of a kind; a group of hundreds fails in few ways. */
const MOST_SHOWN = 10;

async function launches(clients: AwsClients, { target, since }: FailedRollout): Promise<Finding> {
  const activities = await readActivities(clients, target, since);
  const from = since ?? new Date(0);
  const { messages } = failedReplacements(activities, from);
  // Without a start nothing tells which instances are the refresh's.
  const lost = since === undefined ? [] : lostInstances(activities, from);
  const heading =
    since === undefined
      ? "Scaling activities that failed, at any time (the refresh has no start):"
      : "Scaling activities that failed:";
  return {
    lines: [
      ...section(heading, messages),
      ...section("Instances that were launched and terminated again:", grouped(lost.map(lossOf))),
    ],
    texts: [...messages, ...lost.map(({ cause }) => cause)],
    suspects: lost.map(({ id }) => id),
  };
}

/** A cause has the time and instance in it: `At …Z an instance was taken out of service in response to …`. */
function lossOf({ id, cause }: { readonly id: string; readonly cause: string }): readonly [string, string] {
  const [, why] = /in response to (.+?)(?:\.\s|\.?$)/is.exec(cause) ?? [];
  return [id, why ?? (cause === "" ? "no cause" : cause)];
}

async function unhealthyTargets(clients: AwsClients, target: Target, arn: string): Promise<Finding> {
  const loadBalancing = await clients.elasticLoadBalancing(target.region);
  const { TargetHealthDescriptions } = await loadBalancing.send(
    new DescribeTargetHealthCommand({ TargetGroupArn: arn }),
  );
  const unhealthy = (TargetHealthDescriptions ?? []).flatMap(({ Target: found, TargetHealth: health }) => {
    // `unhealthy` and `unhealthy.draining` (API reference, TargetHealth).
    if (!(health?.State ?? "").startsWith("unhealthy")) return [];
    const reason = [health?.Reason, health?.Description].filter((part) => part !== undefined).join(": ");
    return [[found?.Id ?? "a target without id", reason === "" ? "no reason" : reason] as const];
  });
  return {
    lines: section(
      `Targets that the load balancer calls unhealthy (${oneLine(targetGroupName(arn))}):`,
      grouped(unhealthy),
    ),
    texts: unhealthy.map(([, reason]) => reason),
    // Targets can be addresses too.
    suspects: unhealthy.map(([id]) => id).filter((id) => /^i-[0-9a-f]+$/.test(id)),
  };
}

/** `arn:aws:elasticloadbalancing:…:targetgroup/web/0123456789abcdef`: `web`. */
function targetGroupName(arn: string): string {
  return arn.split("/")[1] ?? arn;
}

/** Instances shown by id for one reason. */
const MOST_IDS = 5;

/** `i-1, i-2: why`, a line a reason. */
function grouped(pairs: readonly (readonly [id: string, why: string])[]): string[] {
  const reasons = new Map<string, string[]>();
  for (const [id, why] of pairs) reasons.set(why, [...(reasons.get(why) ?? []), id]);
  return [...reasons].map(([why, ids]) => {
    const more = ids.length - MOST_IDS;
    return `${ids.slice(0, MOST_IDS).join(", ")}${more > 0 ? ` and ${more} more` : ""}: ${why}`;
  });
}

/** Lines of a console that are shown. */
const CONSOLE_LINES = 20;

async function endOfConsole(clients: AwsClients, target: Target, id: string): Promise<Finding> {
  const lines = (await readConsole(clients, target, id))
    .split(/[\r\n]+/)
    .map(oneLine)
    .filter((line) => line !== "");
  if (lines.length === 0) return { ...NOTHING, lines: [`The console of ${id} shows nothing.`] };
  return {
    ...NOTHING,
    lines: [
      `The end of the console of ${id}:`,
      ...lines.slice(-CONSOLE_LINES).map((line) => `${QUOTE}${line}`),
    ],
  };
}

/**
 * What an instance printed so far. `Latest` is for Nitro instances; what others have is of their last change of state,
 * and stays for at least an hour, also after they were terminated (API reference, GetConsoleOutput).
 */
async function readConsole(clients: AwsClients, target: Target, id: string): Promise<string> {
  const ec2 = await clients.ec2(target.region);
  try {
    const { Output } = await ec2.send(new GetConsoleOutputCommand({ InstanceId: id, Latest: true }));
    if (Output !== undefined && Output !== "") return decoded(Output);
  } catch (error) {
    if (!hasCode(error, "UnsupportedOperation", "IncorrectInstanceState")) throw error;
  }
  const { Output } = await ec2.send(new GetConsoleOutputCommand({ InstanceId: id }));
  return decoded(Output ?? "");
}

const decoded = (output: string): string =>
  stripVTControlCharacters(Buffer.from(output, "base64").toString());

/** Stands before what others wrote: the runner takes a line that begins with `::` for a command. */
const QUOTE = "  | ";

/** A heading and its texts, or nothing where there are none. */
function section(heading: string, texts: readonly string[]): string[] {
  if (texts.length === 0) return [];
  const more = texts.length - MOST_SHOWN;
  return [
    heading,
    ...texts.slice(0, MOST_SHOWN).map((text) => `${QUOTE}${oneLine(text)}`),
    ...(more > 0 ? [`${QUOTE}and ${more} more`] : []),
  ];
}

/** Characters of a line that are shown. */
const LINE_LENGTH = 300;

/** Text from outside as one line, cut where it is long. */
function oneLine(text: string): string {
  const plain = printable(text.replace(/[\s\p{Zl}\p{Zp}]+/gu, " ")).trim();
  const characters = Array.from(plain);
  return characters.length <= LINE_LENGTH ? plain : `${characters.slice(0, LINE_LENGTH).join("")}…`;
}
