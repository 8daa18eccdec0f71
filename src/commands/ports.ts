import type { AwsClients } from "../aws/clients.ts";
import type { Environment } from "../domain/application.ts";
import type { Clock, Log, Subprocess } from "../domain/ports.ts";
import type { Secrets } from "../domain/secrets.ts";
import type { EnvironmentResult, Result } from "../domain/result.ts";
import type { StartedPacker } from "../image/bake-order.ts";
import type { ToComplete } from "../image/completion.ts";
import type { Repository } from "../github/repository.ts";
import type { Lock } from "../release/lock.ts";

/** The collaborators that a command gets, in one object. */
export interface Ports {
  readonly clock: Clock;
  readonly log: Log;
  readonly subprocess: Subprocess;
  /** Aborts with a CancelledError when the run is cancelled. */
  readonly signal: AbortSignal;
  /** The account that images are baked in and belong to. */
  readonly aws: AwsClients;
  /** The account of an environment's targets: the same one, where the environment names no role. */
  awsOf(environment: Pick<Environment, "name" | "roleToAssume">): AwsClients;
  readonly repository: Repository;
  readonly facts: Facts;
  readonly unfinished: Unfinished;
  /** The repository's folder. */
  readonly workspace: string;
  /** A private folder that ends with the job. */
  readonly temporaryFolder: string;
  readonly token: string;
  /** What nobody may read: left out of all that is written. */
  readonly secrets: Secrets;
}

/** Publishes what is a fact now: outputs are set at once, also when a later step fails. */
export interface Facts {
  publish(facts: Partial<Omit<Result, "environments">>): void;
  publishEnvironment(environment: string, facts: Partial<Omit<EnvironmentResult, "environment">>): void;
}

/** What the run's post step finishes when this process does not come to it. */
export interface Unfinished {
  locked(lock: Lock): void;
  /** A ref that is gone, in whichever form it was noted. */
  unlocked(lock: Pick<Lock, "ref">): void;
  packerStarted(packer: StartedPacker): void;
  /** Packer ended with 0: what it made is to be completed, not removed. */
  packerEnded(images: ToComplete): void;
  /** The images that Packer made are complete, or removed: nothing of the bake is left to do. */
  bakeFinished(): void;
  /** Noted before it is started, and again as soon as it has an id. */
  refreshNoted(refresh: NotedRefresh): void;
  /** The leader of a process group that must not outlive the job. */
  programStarted(pid: number): void;
  programEnded(pid: number): void;
}

/** An instance refresh that this run starts or has started. */
export interface NotedRefresh {
  readonly region: string;
  readonly autoScalingGroup: string;
  /** Undefined while AWS has not answered yet: then it is told by what it brings. */
  readonly id: string | undefined;
  readonly brings?: { readonly launchTemplate: string; readonly version: string };
  /** It takes the target back, rather than forward. */
  readonly isBack?: boolean;
  readonly roleToAssume?: string | undefined;
}

/** The workflow run that a command works for. */
export interface Run {
  /** `owner/name`. */
  readonly repository: string;
  readonly id: string;
  readonly attempt: string;
  /** The run's page: the same for all attempts. */
  readonly url: string;
  readonly actor: string;
  readonly commit: string;
  /** Undefined for a tag or another ref. */
  readonly branch: string | undefined;
  readonly event: string;
  readonly serverUrl: string;
}
