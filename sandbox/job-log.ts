/** A job's log as its page shows it: workflow commands become what people see, masked values `***`. */
export class JobLog {
  readonly #masks: string[] = [];
  #rest = "";

  /** The lines that a piece of output adds. */
  read(output: string): string[] {
    const lines = (this.#rest + output).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#show(line));
  }

  #show(line: string): string[] {
    const command = /^::([a-z-]+)(?: [^:]*)?::(.*)$/.exec(line);
    if (command === null) return [this.#masked(line)];
    const [, name = "", text = ""] = command;
    const value = unescape(text);
    if (name === "add-mask") {
      this.#masks.push(value);
      return [];
    }
    const prefix = PREFIXES[name];
    return prefix === undefined ? [] : [this.#masked(`${prefix}${value}`)];
  }

  #masked(line: string): string {
    return this.#masks.reduce((text, mask) => text.replaceAll(mask, "***"), line);
  }
}

const PREFIXES: Readonly<Record<string, string>> = {
  group: "▼ ",
  notice: "Notice: ",
  warning: "Warning: ",
  error: "Error: ",
};

const unescape = (text: string): string =>
  text.replaceAll("%0D", "\r").replaceAll("%0A", "\n").replaceAll("%25", "%");
