import type { NotedRefresh, Unfinished } from "../commands/ports.ts";
import type { StartedPacker } from "../image/bake-order.ts";
import type { ToComplete } from "../image/completion.ts";
import type { Lock } from "../release/lock.ts";
import { workflow } from "./workflow.ts";

/** What the post step may have to finish: saved by the main step the moment it is a fact. */
export interface State {
  /** True once the main step has finished all of it itself. */
  readonly finished: boolean;
  readonly locks: readonly Lock[];
  readonly packer: StartedPacker | undefined;
  /** What Packer made, where it ended with 0 and the main step did not come to complete it. */
  readonly images?: ToComplete | undefined;
  /** The refresh that was last started on each target. */
  readonly refreshes: readonly NotedRefresh[];
  /** Process groups that must not outlive the job. */
  readonly programs: readonly number[];
  /** What `on-cancel` says, where the run was cancelled. */
  readonly cancelled: "rollback" | "leave" | undefined;
  /** The step's own folder for files that nobody else may read; gone when it has finished. */
  readonly folder?: string | undefined;
}

const NAME = "kiln";
const NOTHING: State = {
  finished: true,
  locks: [],
  packer: undefined,
  refreshes: [],
  programs: [],
  cancelled: undefined,
};

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

  unlocked(lock: Pick<Lock, "ref">): void {
    this.#state = { ...this.#state, locks: this.#state.locks.filter((other) => other.ref !== lock.ref) };
    this.#save();
  }

  packerStarted(packer: StartedPacker): void {
    this.#state = { ...this.#state, packer, images: undefined };
    this.#save();
  }

  packerEnded(images: ToComplete): void {
    this.#state = { ...this.#state, images };
    this.#save();
  }

  bakeFinished(): void {
    this.#state = { ...this.#state, packer: undefined, images: undefined };
    this.#save();
  }

  refreshNoted(refresh: NotedRefresh): void {
    const others = this.#state.refreshes.filter(
      ({ region, autoScalingGroup }) =>
        region !== refresh.region || autoScalingGroup !== refresh.autoScalingGroup,
    );
    this.#state = { ...this.#state, refreshes: [...others, refresh] };
    this.#save();
  }

  programStarted(pid: number): void {
    this.#state = { ...this.#state, programs: [...this.#state.programs, pid] };
    this.#save();
  }

  programEnded(pid: number): void {
    this.#state = { ...this.#state, programs: this.#state.programs.filter((other) => other !== pid) };
    this.#save();
  }

  cancelled(onCancel: "rollback" | "leave"): void {
    this.#state = { ...this.#state, cancelled: onCancel };
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
