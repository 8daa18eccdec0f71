/** What instances write to their console. */
import type { Call, Operations } from "../query.ts";
import { find } from "./state.ts";
import type { Ec2State } from "./state.ts";

/** EC2 API reference, GetConsoleOutput: the newest 64 KB that were written. */
const kept = 64 * 1024;

/**
 * EC2 API reference, GetConsoleOutput: an instance that was terminated is asked for as long as it is listed, an hour.
 * `Latest` makes no difference here: nothing is ever late.
 */
export function consoleOutputOperations(state: Ec2State): Operations {
  return {
    GetConsoleOutput(call: Call) {
      const { id, imageId } = find(state, call, "instance", call.query.required("InstanceId"));
      const text = state.consoles.get(imageId) ?? state.settings.consoleOutput(id);
      const output = Buffer.from(text).subarray(-kept).toString("base64");
      return { instanceId: id, timestamp: state.clock.date(), output };
    },
  };
}
