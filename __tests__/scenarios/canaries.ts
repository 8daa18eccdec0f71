import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** A value that is planted in one place, and must come out nowhere. */
export interface Canary {
  readonly name: string;
  readonly value: string;
}

/** Something that was written, and where. */
export interface Written {
  readonly where: string;
  readonly text: string;
}

/** Letters and digits that stand nowhere else. */
export function word(length = 24): string {
  return randomBytes(64).toString("base64").replace(/[+/=]/g, "").slice(0, length);
}

/** A private key as tools write it, of made-up bytes. */
export function privateKey(): string {
  const body =
    randomBytes(720)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...body, "-----END OPENSSH PRIVATE KEY-----"].join("\n");
}

/** Where a canary came out, and in which form. The forms are made here, by other means than the product's. */
export function leaks(canaries: readonly Canary[], written: readonly Written[]): string[] {
  return canaries.flatMap(({ name, value }) =>
    formsOf(value).flatMap(({ form, how }) =>
      written.flatMap(({ where, text }) => {
        const at = text.indexOf(form);
        return at === -1
          ? []
          : [`${name} (${how}) in ${where}: ${JSON.stringify(text.slice(Math.max(0, at - 80), at + 80))}`];
      }),
    ),
  );
}

function formsOf(value: string): readonly { readonly form: string; readonly how: string }[] {
  const lines = [value, ...value.split("\n")].filter((line) => line.length >= 4 && !line.startsWith("-----"));
  const forms = lines.flatMap((line) => {
    const bytes = Buffer.from(line);
    // Without the end, which holds bits of what may follow.
    const whole = bytes.toString("base64").slice(0, Math.floor((bytes.length * 8) / 6));
    const behindUser = Buffer.from(`user:${line}`).toString("base64").slice(8, -4);
    return [
      { form: line, how: "plain" },
      { form: JSON.stringify(line).slice(1, -1), how: "JSON" },
      { form: encodeURIComponent(line), how: "URL" },
      { form: encodeURIComponent(line).replaceAll("%20", "+"), how: "form" },
      { form: line.replaceAll("'", `'"'"'`), how: "shell" },
      { form: line.replaceAll("'", "'\\''"), how: "set -x" },
      { form: whole, how: "Base64" },
      { form: behindUser, how: "Base64 behind user:" },
    ];
  });
  const wrapped = Buffer.from(value).toString("base64").match(/.{76}/g) ?? [];
  return [...forms, ...wrapped.map((form) => ({ form, how: "wrapped Base64" }))].filter(
    ({ form }) => form.length >= 4,
  );
}

/** All files of a folder, however deep. */
export function filesIn(folder: string, except: (path: string) => boolean = () => false): Written[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined || except(path)) return [];
    if (stat.isDirectory()) return filesIn(path, except);
    return stat.isFile() ? [{ where: path, text: readFileSync(path, "utf8") }] : [];
  });
}

/** The command lines of a process and all that come from it, looked at often while it runs. */
export class CommandLines {
  readonly seen = new Set<string>();
  readonly #known = new Set<number>();
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#known.add(pid);
    this.#timer = setInterval(() => this.#look(), 15);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const pid of this.#known) {
      try {
        this.seen.add(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "));
        const threads = readdirSync(`/proc/${pid}/task`);
        for (const thread of threads) {
          const children = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8");
          for (const child of children.split(" ").filter(Boolean)) this.#known.add(Number(child));
        }
      } catch {
        this.#known.delete(pid);
      }
    }
  }
}
