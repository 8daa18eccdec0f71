import { type Environment, type Target, targetName } from "../domain/application.ts";
import type { TargetResult } from "../domain/result.ts";
import type { TemplateVersion } from "../rollout/launch-template.ts";
import type { TargetPlan } from "./plan.ts";
import type { Ports } from "./ports.ts";

/** What is known of the environment's targets, published with every change. */
export class TargetBoard {
  readonly #environment: Environment;
  readonly #ports: Ports;
  readonly #results = new Map<string, TargetResult>();
  readonly #refreshes = new Map<string, { readonly id: string; readonly isBack: boolean }[]>();

  constructor(environment: Environment, targets: readonly TargetPlan[], ports: Ports) {
    this.#environment = environment;
    this.#ports = ports;
    for (const { target } of targets) {
      const { region, autoScalingGroup } = target;
      this.#results.set(targetName(target), { region, autoScalingGroup });
    }
  }

  /** The refresh that was last started on a target; a second one takes it back. */
  refreshOf(target: Target): { readonly id: string; readonly isBack: boolean } | undefined {
    return this.#refreshes.get(targetName(target))?.at(-1);
  }

  /** The ids of all refreshes that this run started or adopted on a target, oldest first. */
  refreshesOf(target: Target): readonly string[] {
    return (this.#refreshes.get(targetName(target)) ?? []).map(({ id }) => id);
  }

  resultOf(target: Target): TargetResult | undefined {
    return this.#results.get(targetName(target));
  }

  /** About to be started: where this process dies before AWS has answered, the post step looks for it. */
  starting(target: Target, { id: launchTemplate, version }: TemplateVersion): void {
    const { roleToAssume } = this.#environment;
    const brings = { launchTemplate, version };
    this.#ports.unfinished.refreshNoted({ ...target, id: undefined, brings, roleToAssume });
  }

  started(target: Target, id: string): void {
    const before = this.#refreshes.get(targetName(target)) ?? [];
    const isBack = before.length > 0;
    this.#refreshes.set(targetName(target), [...before, { id, isBack }]);
    const { roleToAssume } = this.#environment;
    this.#ports.unfinished.refreshNoted({ ...target, id, isBack, roleToAssume });
    this.update(target, { instanceRefresh: id });
  }

  update(target: Target, facts: Partial<TargetResult>): void {
    const { region, autoScalingGroup } = target;
    const name = targetName(target);
    this.#results.set(name, { region, autoScalingGroup, ...this.#results.get(name), ...facts });
    this.#ports.facts.publishEnvironment(this.#environment.name, { targets: [...this.#results.values()] });
  }
}
