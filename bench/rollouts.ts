/**
 * What rollouts take: seconds of the sandbox's clock, requests to AWS, the lowest number of healthy instances, and how
 * long after the end Kiln saw it, for each strategy and group size; beside what a script gets that starts a refresh with
 * the API's defaults (at least 90 % healthy, no maximum) and looks every 15 seconds. 30 s to launch, 60 s of warm-up,
 * 20 s to drain. On virtual time, so the same on every machine.
 *
 * `node bench/rollouts.ts` prints the table of docs/rollouts.md, `--write` puts it there.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { markdownTable } from "markdown-table";
import type { Strategy } from "../src/domain/application.ts";
import { formatDuration } from "../src/domain/duration.ts";
import { HOME } from "../sandbox/sandbox.ts";
import { ReleaseStage } from "../__tests__/rollouts/release-stage.ts";

const DOCUMENT = join(import.meta.dirname, "../docs/rollouts.md");
const GROUP = "web";
export const SIZES = [10, 100, 1000] as const;
const STRATEGIES = ["rolling", "canary", "all-at-once", "recycle"] as const satisfies readonly Strategy[];
/** How often a script looks that waits in a loop. */
const SCRIPT_PAUSE = 15_000;

export interface Figures {
  readonly took: number;
  readonly looks: number;
  readonly requests: number;
  readonly lowest: number;
  /** Milliseconds from the refresh's end until it was seen. */
  readonly lag: number;
}

/** A release by Kiln. */
export async function byKiln(strategy: Strategy, size: number): Promise<Figures> {
  await using stage = await ReleaseStage.open();
  stage.addGroup(GROUP, size);
  const watch = stage.sandbox.autoScaling.watchHealthy(GROUP);
  const released = await stage.release([{ region: HOME.region, autoScalingGroup: GROUP }], { strategy });
  if (released.error !== undefined)
    throw new Error(`${strategy}, ${size} instances`, { cause: released.error });
  const looks = stage.sandbox.log.entries.filter(
    ({ action, params }) =>
      action === "DescribeInstanceRefreshes" && JSON.stringify(params).includes("InstanceRefreshIds"),
  );
  const [refresh] = stage.sandbox.autoScaling.refreshes(GROUP);
  return {
    took: (refresh?.endTime ?? 0) - (refresh?.startTime ?? 0),
    looks: looks.length,
    requests: released.requests,
    lowest: watch.lowest(),
    lag: (looks.at(-1)?.at.getTime() ?? 0) - (refresh?.endTime ?? 0),
  };
}

/** The same by a script with the API's defaults. */
export async function byDefaults(size: number): Promise<Figures> {
  await using stage = await ReleaseStage.open();
  const { sandbox } = stage;
  stage.addGroup(GROUP, size);
  const [first] = stage.versions(GROUP);
  const version = sandbox.ec2.addLaunchTemplateVersion(stage.template(GROUP), {
    ...first?.data,
    ImageId: stage.newImage,
  });
  const watch = sandbox.autoScaling.watchHealthy(GROUP);
  stage.call("StartInstanceRefresh", GROUP, {
    "DesiredConfiguration.LaunchTemplate.LaunchTemplateId": stage.template(GROUP),
    "DesiredConfiguration.LaunchTemplate.Version": String(version.number),
  });
  let looks = 0;
  const status = () => sandbox.autoScaling.refreshes(GROUP)[0];
  while (!["Successful", "Failed"].includes(status()?.status ?? "")) {
    sandbox.clock.advance(SCRIPT_PAUSE);
    looks += 1;
  }
  const refresh = status();
  if (refresh?.status !== "Successful") throw new Error(refresh?.statusReason);
  return {
    took: (refresh.endTime ?? 0) - (refresh.startTime ?? 0),
    looks,
    // Start, and making the version; no check, no verification.
    requests: looks + 2,
    lowest: watch.lowest(),
    lag: sandbox.clock.now() - (refresh.endTime ?? 0),
  };
}

export function row(name: string, size: number, figures: Figures): string[] {
  return [
    String(size),
    name,
    formatDuration(figures.took),
    String(figures.lowest),
    String(figures.looks),
    String(figures.requests),
    `${Math.round(figures.lag / 1000)} s`,
  ];
}

export const HEADER = [
  "Instances",
  "Strategy",
  "Refresh takes",
  "Lowest healthy",
  "Looks",
  "Requests",
  "End seen after",
];
export const DEFAULTS = "the API's defaults, by a script";

/** The marked part of docs/rollouts.md. */
export const MARKED = /(<!-- rollouts:start -->\n)[\s\S]*?(\n<!-- rollouts:end -->)/;

async function main(): Promise<void> {
  const rows: string[][] = [];
  for (const size of SIZES) {
    for (const strategy of STRATEGIES) rows.push(row(strategy, size, await byKiln(strategy, size)));
    rows.push(row(DEFAULTS, size, await byDefaults(size)));
  }
  const table = markdownTable([HEADER, ...rows]);
  process.stdout.write(`${table}\n`);
  if (!process.argv.includes("--write")) return;
  const text = await readFile(DOCUMENT, "utf8");
  await writeFile(
    DOCUMENT,
    text.replace(MARKED, (_, start: string, end: string) => `${start}\n${table}\n${end}`),
  );
}

if (import.meta.main) await main();
