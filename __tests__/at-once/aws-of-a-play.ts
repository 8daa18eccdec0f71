import { wallClock } from "../../src/action/wall-clock.ts";
import { createAwsClients, type AwsClients } from "../../src/aws/clients.ts";
import { type AutoScalingWorld, createAutoScalingWorld } from "../../sandbox/aws/autoscaling/world.ts";
import { createCloudWatchWorld } from "../../sandbox/aws/cloudwatch.ts";
import { createEc2World, type Ec2World } from "../../sandbox/aws/ec2/world.ts";
import { createElbWorld } from "../../sandbox/aws/elb.ts";
import type { Operations } from "../../sandbox/aws/query.ts";
import { type AwsService, startAwsServer } from "../../sandbox/aws/server.ts";
import { createSts } from "../../sandbox/aws/sts.ts";
import { createClock, type SandboxClock } from "../../sandbox/clock.ts";
import { Faults } from "../../sandbox/faults.ts";
import { RequestLog } from "../../sandbox/request-log.ts";
import { ACCESS_KEY, HOME } from "../../sandbox/sandbox.ts";

/** An account of its own for one play: worlds on a clock, behind the one server that all plays of this process share. */
export interface AwsOfAPlay {
  readonly clock: SandboxClock;
  readonly ec2: Ec2World;
  readonly autoScaling: AutoScalingWorld;
  /** They reach the play that began last. */
  readonly clients: AwsClients;
}

interface Shared {
  readonly clients: AwsClients;
  services: Partial<Record<AwsService, Operations>>;
  clock: SandboxClock;
}

let started: Promise<Shared> | undefined;

/** A server and clients take longer to make than many a play takes: one of each for a process. */
async function shared(clock: SandboxClock): Promise<Shared> {
  const accounts = { [ACCESS_KEY]: { accountId: HOME.accountId } };
  const state: Omit<Shared, "clients"> = { services: {}, clock };
  const sts = createSts({ accounts });
  const operations = (service: AwsService): Operations =>
    new Proxy({}, { get: (_, name) => Reflect.get(state.services[service] ?? {}, name) as unknown });
  const aws = await startAwsServer({
    clock: new Proxy(clock, { get: (_, name) => member(state.clock, name) }),
    log: new RequestLog(),
    faults: new Faults(),
    accounts,
    services: {
      ec2: operations("ec2"),
      autoscaling: operations("autoscaling"),
      elasticloadbalancing: operations("elasticloadbalancing"),
      cloudwatch: operations("cloudwatch"),
      sts,
    },
  });
  process.env["AWS_ENDPOINT_URL"] = aws.url;
  process.env["AWS_ACCESS_KEY_ID"] = ACCESS_KEY;
  process.env["AWS_SECRET_ACCESS_KEY"] = "sandbox";
  return Object.assign(state, {
    clients: createAwsClients({ userAgent: [["kiln", "test"]], clock: wallClock }),
  });
}

function member(object: object, name: string | symbol): unknown {
  const found = Reflect.get(object, name) as unknown;
  return typeof found === "function" ? (found as () => unknown).bind(object) : found;
}

export async function awsOfAPlay(): Promise<AwsOfAPlay> {
  const clock = createClock({ start: new Date("2026-11-21T12:00:00Z") });
  const ec2 = createEc2World({ clock });
  const autoScaling = createAutoScalingWorld({ clock, fleet: ec2.fleet });
  started ??= shared(clock);
  const state = await started;
  state.clock = clock;
  state.services = {
    ec2: ec2.operations,
    autoscaling: autoScaling.operations,
    cloudwatch: createCloudWatchWorld({ clock }).operations,
    elasticloadbalancing: createElbWorld({ clock, autoScaling }).operations,
  };
  return { clock, ec2, autoScaling, clients: state.clients };
}
