import { parseArgsStringToArgv } from "string-argv";
import * as z from "zod";

/** What only a shell understands, outside quotes: a variable set or used, an operator, a redirection. */
const SHELL_SYNTAX = /^\s*([A-Za-z_]\w*=\S*)|(?:^|\s)((?:\d?[<>]|[&|;])\S*)|(\$[\w{(]\S*)|(;)(?=\s|$)|(`\S*)/;

const VARIABLE = /\$(?:[A-Za-z_]\w*|[{(])/;

/** What is wrong with a command line; undefined: nothing. */
function commandLineProblem(text: string): string | undefined {
  const forShell = /(?:^|\/)\w*sh$/.test(splitCommand(text)[0] ?? "");
  // The splitter's rules: a quote ends at the next one of its kind, a backslash is a character like others. A variable
  // in double quotes is a habit from the shell, unless it is meant for one.
  const unquoted = text.replace(/"([^"]*)"|'[^']*'/g, (_, inDouble: string | undefined) =>
    forShell ? "quoted" : `quoted${VARIABLE.exec(inDouble ?? "")?.[0] ?? ""}`,
  );
  const open = /["']/.exec(unquoted)?.[0];
  if (open !== undefined) return `has a quote (${open}) that is not closed`;
  const shell = unquoted.trim().includes("\n")
    ? "several lines"
    : SHELL_SYNTAX.exec(unquoted)
        ?.slice(1)
        .find((group) => group !== undefined);
  if (shell !== undefined)
    return `has ${shell}, which only a shell understands, and none is run: name a script, or write command: [bash, -c, "…"]`;
  return beginsWithProgram(splitCommand(text)) ? undefined : NO_PROGRAM;
}

const NO_PROGRAM = "must begin with a program";

function beginsWithProgram([program = ""]: readonly string[]): boolean {
  return program.trim() !== "";
}

/** A command as program and arguments. No shell: what a variable holds cannot become syntax. */
export function splitCommand(command: string | readonly string[]): readonly string[] {
  return typeof command === "string" ? parseArgsStringToArgv(command) : command;
}

/** A command as one text, which is split into words as {@link splitCommand} does. */
export const commandLine = z.string().superRefine((text, context) => {
  const message = commandLineProblem(text);
  if (message !== undefined) context.addIssue({ code: "custom", message });
});

/** A command as a list of program and arguments. */
export const commandWords = z
  .array(z.string())
  .min(1, NO_PROGRAM)
  .refine((words) => words.length === 0 || beginsWithProgram(words), NO_PROGRAM);
