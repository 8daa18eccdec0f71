import type { Unfinished } from "../commands/ports.ts";
import type { StartedPacker } from "../image/bake.ts";
import type { Lock } from "../release/lock.ts";
import { workflow } from "./workflow.ts";

/** What the post step may have to finish: saved by the main step the moment it is a fact. */
export interface State {
  /** True once the main step has finished all of it itself. */
  readonly finished: boolean;
  readonly locks: readonly Lock[];
  readonly packer: StartedPacker | undefined;
  /** The refresh that was last started on each target. */
  readonly refreshes: readonly StartedRefresh[];
  /** The step's own folder for files that nobody else may read; gone when it has finished. */
  readonly folder?: string | undefined;
}

export interface StartedRefresh {
  readonly region: string;
  readonly autoScalingGroup: string;
  readonly id: string;
  /** It takes the target back, rather than forward. */
  readonly isBack?: boolean;
  readonly roleToAssume?: string | undefined;
}

const NAME = "kiln";
const NOTHING: State = { finished: true, locks: [], packer: undefined, refreshes: [] };

export class SavedState implements Unfinished {
  #state: State = { ...NOTHING, finished: false };

  constructor() {
    this.#save();
  }

  /** Files that have to go also when this process is killed. */
  using(folder: string): void {
    this.#state = { ...this.#state, folder };
    this.#save();
  }

  locked(lock: Lock): void {
    this.#state = { ...this.#state, locks: [...this.#state.locks, lock] };
    this.#save();
  }

  unlocked(lock: Lock): void {
    this.#state = { ...this.#state, locks: this.#state.locks.filter((other) => other.ref !== lock.ref) };
    this.#save();
  }

  packerStarted(packer: StartedPacker): void {
    this.#state = { ...this.#state, packer };
    this.#save();
  }

  refreshStarted(refresh: StartedRefresh): void {
    const others = this.#state.refreshes.filter(
      ({ region, autoScalingGroup }) =>
        region !== refresh.region || autoScalingGroup !== refresh.autoScalingGroup,
    );
    this.#state = { ...this.#state, refreshes: [...others, refresh] };
    this.#save();
  }

  /** The command ended by itself: only a lock that could not be released is left for the post step. */
  finish(): void {
    const { locks } = this.#state;
    this.#state = { ...NOTHING, locks, finished: locks.length === 0 };
    this.#save();
  }

  #save(): void {
    workflow.saveState(NAME, JSON.stringify(this.#state));
  }
}

/** What the main step left; nothing where it never ran. */
export function loadState(): State {
  const text = workflow.getState(NAME);
  return text === "" ? NOTHING : (JSON.parse(text) as State);
}
