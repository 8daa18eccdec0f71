import type { Application, Environment } from "../domain/application.ts";
import type { Rebake } from "../image/choice.ts";
import type { Run } from "./ports.ts";

/** What `deploy` and `bake` are asked for, checked and complete. */
export interface DeployRequest {
  readonly command: "deploy" | "bake";
  readonly application: Application;
  /** The environments that this run serves, in order. */
  readonly environments: readonly Environment[];
  readonly version: string;
  /** The config file's variables with the input's over them. */
  readonly vars: Readonly<Record<string, string>>;
  readonly secretVars: Readonly<Record<string, string>>;
  readonly rebake: Rebake;
  readonly dryRun: boolean;
  readonly onCancel: "rollback" | "leave";
  /** Milliseconds. */
  readonly timeout: number;
  /** Milliseconds; undefined: the default pace. */
  readonly pollInterval: number | undefined;
  readonly run: Run;
}
