import { type Target, targetName } from "../domain/application.ts";
import { CancelledError } from "../domain/errors.ts";
import type { RolloutTools } from "../rollout/follow.ts";
import { startBack } from "../rollout/go-back.ts";
import { describeById, rollBackRefresh } from "../rollout/refresh.ts";
import type { TargetRollout } from "../rollout/rollout.ts";
import type { TargetBoard } from "./target-board.ts";
import type { Ports } from "./ports.ts";
import type { ReleaseOrder } from "./release-order.ts";

/** A rollout that was cancelled: asks for the way back of every target that was begun, and says what is left. */
export async function cancelRollouts(
  rollouts: readonly TargetRollout[],
  board: TargetBoard,
  { environment, request }: ReleaseOrder,
  ports: Ports,
): Promise<CancelledError> {
  const begun = rollouts.filter(({ state }) => board.refreshOf(state.target) !== undefined);
  const names = (begun.length === 0 ? rollouts : begun).map(({ state }) => targetName(state.target));
  const message =
    names.length === 0
      ? `Cancelled before ${environment.name} was rolled out`
      : `Cancelled while ${names.join(", ")} ${names.length === 1 ? "was" : "were"} being rolled out`;
  if (begun.length === 0) {
    return new CancelledError(message, {
      state: [
        "No instance refresh was started.",
        ...rollouts
          .filter(({ kind }) => kind === "in-service")
          .map(
            ({ state, imageId }) =>
              `${targetName(state.target)} runs ${imageId}, as before; it is not verified and tested yet.`,
          ),
        "Nothing was recorded.",
      ].join(" "),
      next: "Run the job again to release.",
    });
  }
  if (request.onCancel === "leave") {
    const going = begun.map(
      ({ state }) => `The instance refresh ${board.refreshOf(state.target)?.id ?? "?"} goes on`,
    );
    return new CancelledError(message, {
      state: `${going.join(". ")}, as \`on-cancel: leave\` says. Nothing was recorded.`,
      next: "Run the job again: it takes the refresh up and records it.",
    });
  }
  // The run's own signal has aborted: the way back must not stop at it.
  const tools = {
    clients: ports.awsOf(environment),
    clock: ports.clock,
    signal: new AbortController().signal,
    // There are seconds left: that nobody else has refreshed the target since is what counts.
    confirmTurn: async () => undefined,
  };
  const states = await Promise.all(
    begun.map((rollout) =>
      stateOf(rollout, board, tools).catch((error: unknown) => failedToGoBack(rollout.state.target, error)),
    ),
  );
  return new CancelledError(message, {
    state: `${states.join("\n")} Nothing was recorded.`,
    next: "Run the job again to release.",
  });
}

const CANCELLED = "the run was cancelled";

/** Has one target go back, in words. */
async function stateOf(
  rollout: TargetRollout,
  board: TargetBoard,
  tools: Pick<RolloutTools, "clients" | "clock" | "signal" | "confirmTurn">,
): Promise<string> {
  const { target } = rollout.state;
  const { id = "?", isBack = false } = board.refreshOf(target) ?? {};
  // Rolling the way back back would lead to the bad release again.
  if (isBack) {
    return `${targetName(target)} is on its way back by the instance refresh ${id}, which AWS finishes by itself.`;
  }
  if (board.resultOf(target)?.ended === "released") {
    const back = await startBack(tools, rollout, CANCELLED);
    return `${targetName(target)} had finished; the instance refresh ${back} takes it back, which AWS finishes by itself.`;
  }
  const answer = await rollBackRefresh(tools.clients, target, id);
  if (answer === "started") {
    return `The instance refresh ${id} is being rolled back; AWS finishes that by itself.`;
  }
  if (answer === "impossible") return `The instance refresh ${id} cannot be rolled back by AWS and goes on.`;
  const ended = await describeById(await tools.clients.autoScaling(target.region), target, id);
  if (ended?.Status === "RollbackSuccessful")
    return `The instance refresh ${id} had been rolled back already.`;
  // It ended just now, well or not: in both cases instances run what nobody will record.
  const back = await startBack(tools, rollout, CANCELLED);
  return `The instance refresh ${id} had ended already (${ended?.Status ?? "?"}); ${back} takes ${targetName(target)} back, which AWS finishes by itself.`;
}

function failedToGoBack(target: Target, error: unknown): string {
  return `${targetName(target)} could not be asked to go back: ${error instanceof Error ? error.message : String(error)}.`;
}
