import { AwsError } from "../query.ts";
import type { Query } from "../query.ts";

/** Checks of single parameters against the ranges of the API reference, in AWS's words. */
export function invalid(message: string): AwsError {
  return new AwsError("ValidationError", message);
}

function violation(name: string, value: string, constraint: string): AwsError {
  const member = name.charAt(0).toLowerCase() + name.slice(1);
  return invalid(
    `1 validation error detected: Value '${value}' at '${member}' failed to satisfy constraint: ${constraint}`,
  );
}

export function integer(query: Query, name: string, minimum: number, maximum: number): number | undefined {
  const text = query.string(name);
  return text === undefined ? undefined : checkInteger(name, text, minimum, maximum);
}

export function checkInteger(name: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text);
  if (!Number.isInteger(value)) throw violation(name, text, "Member must be an integer");
  if (value < minimum)
    throw violation(name, text, `Member must have value greater than or equal to ${minimum}`);
  if (value > maximum) throw violation(name, text, `Member must have value less than or equal to ${maximum}`);
  return value;
}

export function oneOf<const Choice extends string>(
  query: Query,
  name: string,
  choices: readonly Choice[],
): Choice | undefined {
  const text = query.string(name);
  if (text === undefined) return undefined;
  const found = choices.find((choice) => choice === text);
  if (found === undefined)
    throw violation(name, text, `Member must satisfy enum value set: [${choices.join(", ")}]`);
  return found;
}

export function groupName(query: Query): string {
  const name = query.string("AutoScalingGroupName");
  if (name === undefined)
    throw invalid(
      "1 validation error detected: Value null at 'autoScalingGroupName' failed to satisfy constraint: Member must not be null",
    );
  if (name.length > 255)
    throw violation("AutoScalingGroupName", name, "Member must have length less than or equal to 255");
  return name;
}
