import type {
  Activity,
  DesiredConfiguration,
  InstanceRefresh,
  StartInstanceRefreshCommandInput,
} from "@aws-sdk/client-auto-scaling";
import type { AwsClients } from "../../src/aws/clients.ts";
import { RemoteError } from "../../src/domain/errors.ts";

/** What one look at a refresh shows, or the error that the look ends with; the last of a course stays. */
export type Step = Partial<InstanceRefresh> | Error;

/** An instance of the group. */
export interface FakeInstance {
  readonly id: string;
  version: string;
  readonly isProtected?: boolean;
}

type Input = Readonly<Record<string, unknown>>;
type Operation = (group: FakeGroup, input: Input) => unknown;

const SAVED = "7";

/**
 * One Auto Scaling group whose refreshes go as they are told. A refresh that ends `Successful` brings all instances (but
 * protected ones) and the group to its version; one that is rolled back brings back what it had changed.
 */
export class FakeGroup {
  readonly region: string;
  readonly name: string;
  version = SAVED;
  instances: FakeInstance[];
  readonly refreshes: {
    readonly description: InstanceRefresh;
    readonly course: Step[];
    readonly before: string;
  }[] = [];
  /** What was started, in order. */
  readonly started: StartInstanceRefreshCommandInput[] = [];
  /** The courses of the refreshes that will be started, in order; all others succeed at once. */
  readonly courses: Step[][] = [];
  /** The course that the running refresh takes when it is asked to roll back, or AWS's refusal. */
  onRollback: Step[] | Error = [{ Status: "RollbackInProgress" }, { Status: "RollbackSuccessful" }];
  activities: Activity[] = [];
  rollbacks = 0;
  cancels = 0;

  constructor(region: string, name: string, ids: readonly string[] = [`i-${region}-1`, `i-${region}-2`]) {
    this.region = region;
    this.name = name;
    this.instances = ids.map((id) => ({ id, version: SAVED }));
  }

  get active() {
    return this.refreshes.findLast(({ description: { Status } }) => ACTIVE.has(Status ?? ""));
  }

  start(input: StartInstanceRefreshCommandInput): string {
    if (this.active !== undefined) {
      throw new RemoteError("in progress", { code: "InstanceRefreshInProgress" });
    }
    this.started.push(input);
    const id = `${this.name}-${this.started.length}`;
    this.refreshes.push({
      before: this.version,
      course: [...(this.courses.shift() ?? [{ Status: "Successful" }])],
      description: {
        InstanceRefreshId: id,
        Status: "Pending",
        StartTime: new Date("2026-11-18T10:00:00Z"),
        ...(input.DesiredConfiguration === undefined
          ? {}
          : { DesiredConfiguration: input.DesiredConfiguration }),
      },
    });
    return id;
  }

  /** One look: what there is to see goes a step on. */
  look(id: string): InstanceRefresh[] {
    const found = this.refreshes.find(({ description }) => description.InstanceRefreshId === id);
    if (found === undefined) return [];
    const { course, description } = found;
    const step = course.length > 1 ? course.shift() : course[0];
    if (step instanceof Error) throw step;
    this.#become(found, step?.Status);
    Object.assign(description, step);
    return [{ ...description }];
  }

  /** The id of the refresh that it applies to: the request names none. */
  rollBack(): string | undefined {
    const { active } = this;
    this.rollbacks += 1;
    if (active === undefined) throw new RemoteError("none", { code: "ActiveInstanceRefreshNotFound" });
    if (this.onRollback instanceof Error) throw this.onRollback;
    active.course.splice(0, Infinity, ...this.onRollback);
    active.description.Status = "RollbackInProgress";
    return active.description.InstanceRefreshId;
  }

  cancel(): string | undefined {
    const { active } = this;
    this.cancels += 1;
    if (active === undefined) throw new RemoteError("none", { code: "ActiveInstanceRefreshNotFound" });
    active.course.splice(0, Infinity, { Status: "Cancelled", StatusReason: "cancelled by a user" });
    return active.description.InstanceRefreshId;
  }

  #become(refresh: FakeGroup["refreshes"][number], status: string | undefined): void {
    const wanted = versionOf(refresh.description.DesiredConfiguration);
    const move = (version: string): void => {
      this.version = version;
      for (const instance of this.instances) if (instance.isProtected !== true) instance.version = version;
    };
    if (status === "Successful") {
      refresh.description.EndTime ??= new Date("2026-11-18T10:05:00Z");
      move(wanted ?? this.version);
    } else if (status === "RollbackSuccessful") move(refresh.before);
    else if (status !== undefined && status !== "Pending" && this.instances[0] !== undefined) {
      // Under way, or ended half-way: the first instance is new, the group still saves the version before.
      if (wanted !== undefined) this.instances[0].version = wanted;
    }
  }
}

const ACTIVE = new Set(["Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress"]);

const versionOf = (configuration: DesiredConfiguration | undefined): string | undefined =>
  configuration?.LaunchTemplate?.Version;

/** What AWS answers, for groups of one region each. */
const OPERATIONS: Readonly<Record<string, Operation>> = {
  StartInstanceRefresh: (group, input) => ({
    InstanceRefreshId: group.start(input as unknown as StartInstanceRefreshCommandInput),
  }),
  RollbackInstanceRefresh: (group) => ({ InstanceRefreshId: group.rollBack() }),
  CancelInstanceRefresh: (group) => ({ InstanceRefreshId: group.cancel() }),
  DescribeInstanceRefreshes: (group, input) => {
    const ids = input["InstanceRefreshIds"] as readonly string[] | undefined;
    return {
      InstanceRefreshes: ids
        ? ids.flatMap((id) => group.look(id))
        : group.refreshes.map(({ description }) => ({ ...description })).toReversed(),
    };
  },
  DescribeScalingActivities: (group) => ({ Activities: group.activities }),
  DescribeAutoScalingGroups: (group) => ({
    AutoScalingGroups: [
      {
        AutoScalingGroupName: group.name,
        LaunchTemplate: { LaunchTemplateId: "lt-1", LaunchTemplateName: "web", Version: group.version },
        Instances: group.instances.map(({ id, version, isProtected = false }) => ({
          InstanceId: id,
          LifecycleState: "InService",
          HealthStatus: "Healthy",
          LaunchTemplate: { LaunchTemplateId: "lt-1", Version: version },
          ProtectedFromScaleIn: isProtected,
        })),
      },
    ],
  }),
  DescribeLaunchTemplateVersions: (_, input) => {
    const [version] = input["Versions"] as readonly string[];
    return {
      LaunchTemplateVersions: [
        {
          LaunchTemplateId: "lt-1",
          LaunchTemplateName: "web",
          VersionNumber: Number(version),
          LaunchTemplateData: { ImageId: `ami-of-${version ?? "?"}` },
        },
      ],
    };
  },
};

/** Clients for these groups, one a region; what is asked is told first, and may be refused by throwing. */
export function clientsOf(
  groups: readonly FakeGroup[],
  beforeAnswer: (operation: string, group: FakeGroup) => void = () => {},
): AwsClients {
  const client = async (region: string) => ({
    send: async (command: { readonly constructor: { readonly name: string }; readonly input: Input }) => {
      const operation = command.constructor.name.replace(/Command$/, "");
      const group = groups.find((one) => one.region === region);
      const answer = OPERATIONS[operation];
      if (group === undefined || answer === undefined)
        throw new Error(`nobody answers ${operation} in ${region}`);
      beforeAnswer(operation, group);
      return answer(group, command.input);
    },
  });
  return {
    autoScaling: client,
    autoScalingOnce: client,
    ec2: client,
    elasticLoadBalancing: client,
    cloudWatch: client,
    sts: client,
  } as unknown as AwsClients;
}
