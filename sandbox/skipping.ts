/** For callers that poll: what they wait for happens when they look, so that nobody waits in real time. */
import type { AutoScalingWorld } from "./aws/autoscaling/world.ts";
import type { Ec2World } from "./aws/ec2/world.ts";
import type { Call, Operations } from "./aws/query.ts";
import type { SandboxClock } from "./clock.ts";

/** The most sandbox milliseconds that one look skips: a stuck refresh is watched for an hour, not for one look. */
const LONGEST_SKIP = 5 * 60_000;
/** The most events that one look skips. */
const MOST_EVENTS = 200;

/** States that instances and images leave by themselves. */
const PASSING: ReadonlySet<string> = new Set(["pending", "stopping", "shutting-down"]);

/**
 * EC2's operations, with time that skips while an instance or image that is described by its id is in a state that it
 * leaves by itself.
 */
export function skippingEc2(clock: SandboxClock, ec2: Ec2World): Operations {
  const { operations } = ec2;
  const skipWhile = (isPassing: () => boolean): void => {
    for (let events = 0; events < MOST_EVENTS && isPassing(); events += 1)
      if (!clock.skip(LONGEST_SKIP)) return;
  };
  return {
    ...operations,
    ...before(operations, "DescribeInstances", (call) => {
      const ids = new Set(call.query.strings("InstanceId"));
      skipWhile(() => ec2.instances(call).some(({ id, state }) => ids.has(id) && PASSING.has(state)));
    }),
    ...before(operations, "DescribeImages", (call) => {
      const ids = new Set(call.query.strings("ImageId"));
      skipWhile(() => ec2.images(call).some(({ id, state }) => ids.has(id) && PASSING.has(state)));
    }),
  };
}

/** Auto Scaling's operations, with time that skips to what happens next whenever a certain refresh is described. */
export function skippingAutoScaling(clock: SandboxClock, { operations }: AutoScalingWorld): Operations {
  return {
    ...operations,
    ...before(operations, "DescribeInstanceRefreshes", (call) => {
      if (call.query.strings("InstanceRefreshIds").length > 0) clock.skip(LONGEST_SKIP);
    }),
  };
}

function before(operations: Operations, action: string, prepare: (call: Call) => void): Operations {
  const operation = operations[action];
  if (operation === undefined) throw new Error(`the sandbox has no ${action}`);
  return {
    [action]: (call) => {
      prepare(call);
      return operation(call);
    },
  };
}
