import type { Application, Environment } from "../domain/application.ts";
import type { Rebake } from "../image/choice.ts";
import type { RequiredRelease } from "../release/required.ts";
import type { Run } from "./ports.ts";

/** What every command that rolls out is told. */
export interface RolloutRequest {
  readonly application: Application;
  /** The environments that this run serves, in order. */
  readonly environments: readonly Environment[];
  readonly dryRun: boolean;
  readonly onCancel: "rollback" | "leave";
  /** Milliseconds. */
  readonly timeout: number;
  /** Milliseconds; undefined: the default pace. */
  readonly pollInterval: number | undefined;
  readonly run: Run;
}

/** What `deploy` and `bake` are asked for, checked and complete. */
export interface DeployRequest extends RolloutRequest, RequiredRelease {
  readonly version: string;
  /** The config file's variables with the input's over them. */
  readonly vars: Readonly<Record<string, string>>;
  readonly secretVars: Readonly<Record<string, string>>;
  /** Variables that the template marks sensitive: those of `vars` among them go to Packer as secrets do. */
  readonly sensitive: ReadonlySet<string>;
  /** The job's environment as a template may read it, without secrets. */
  readonly templateEnvironment: Readonly<Record<string, string | undefined>>;
  readonly rebake: Rebake;
  /** Let an environment go back to an ancestor of the commit that it runs. */
  readonly allowOlder: boolean;
}

export interface RollbackRequest extends RolloutRequest {
  /** `previous`, a number, a record's tag, a commit or a version. */
  readonly to: string;
  readonly reason: string | undefined;
  /** Alarms are red already: no alarm gate, the whole fleet at once. */
  readonly incident: boolean;
}

export interface StatusRequest {
  readonly application: Application;
  readonly environments: readonly Environment[];
  /** A red run where an environment does not run what its record says. */
  readonly failOnDrift: boolean;
  readonly run: Pick<Run, "repository">;
}

export interface PromoteRequest extends RolloutRequest, RequiredRelease {
  /** The environment whose image to take. */
  readonly from: string;
}
