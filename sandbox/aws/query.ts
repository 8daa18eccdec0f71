import type { Check } from "./iam.ts";

/**
 * Decoded parameters of AWS's Query protocol (Auto Scaling, STS: `List.member.1`, structures by dots) and of
 * EC2's variant of it (`List.1`). An empty value counts as absent: Packer's older SDK sends `SubnetId=` and the like.
 */
export class Query {
  readonly #fields: ReadonlyMap<string, string>;
  readonly #prefix: string;

  constructor(fields: Iterable<readonly [string, string]>, prefix = "") {
    this.#fields = new Map([...fields].filter(([, value]) => value !== ""));
    this.#prefix = prefix;
  }

  string(name: string): string | undefined {
    return this.#fields.get(this.#prefix + name);
  }

  required(name: string): string {
    const value = this.string(name);
    if (value === undefined)
      throw new AwsError("MissingParameter", `The request must contain the parameter ${name}`);
    return value;
  }

  number(name: string): number | undefined {
    const value = this.string(name);
    return value === undefined ? undefined : Number(value);
  }

  boolean(name: string): boolean | undefined {
    const value = this.string(name);
    return value === undefined ? undefined : value === "true";
  }

  /** The structure below `name`, or undefined when nothing of it was sent. */
  struct(name: string): Query | undefined {
    const prefix = `${this.#prefix}${name}.`;
    for (const key of this.#fields.keys()) {
      if (key.startsWith(prefix)) return new Query(this.#fields, prefix);
    }
    return undefined;
  }

  /** The list of structures `name.1.…` or `name.member.1.…`, in the order of their numbers. */
  structs(name: string): Query[] {
    return this.#numbers(name).map(([base, number]) => new Query(this.#fields, `${base}${number}.`));
  }

  /** The list of values `name.1` or `name.member.1`, in the order of their numbers. */
  strings(name: string): string[] {
    return this.#numbers(name).flatMap(([base, number]) => this.#fields.get(`${base}${number}`) ?? []);
  }

  /** Everything that was sent below this prefix, as a flat object: for the request log and for comparing tokens. */
  flat(): Record<string, string> {
    return Object.fromEntries(
      [...this.#fields]
        .filter(([key]) => key.startsWith(this.#prefix))
        .map(([key, value]) => [key.slice(this.#prefix.length), value]),
    );
  }

  #numbers(name: string): [base: string, number: number][] {
    const found = new Map<number, string>();
    for (const key of this.#fields.keys()) {
      for (const base of [`${this.#prefix}${name}.member.`, `${this.#prefix}${name}.`]) {
        if (!key.startsWith(base)) continue;
        const number = /^\d+/.exec(key.slice(base.length))?.[0];
        if (number !== undefined) found.set(Number(number), base);
      }
    }
    return [...found].sort(([a], [b]) => a - b).map(([number, base]) => [base, number]);
  }
}

/** An error as AWS answers it. `status` defaults to 400. */
export class AwsError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.name = "AwsError";
    this.code = code;
    this.status = status;
  }
}

/** What an operation is told of its request besides the parameters. */
export interface Call {
  readonly query: Query;
  /** From the credential scope of the signature. */
  readonly region: string;
  /** The account of the access key; empty where the request is unsigned. */
  readonly accountId: string;
  /** The key that signed the request. */
  readonly accessKeyId?: string;
  readonly requestId: string;
  /** Whether the caller may do something more, where that decides about a part of the answer. Default: everything. */
  readonly permits?: (check: Check) => boolean;
}

/**
 * One AWS operation: returns the content of its response element (EC2: camelCase names and `{ item: [...] }` lists;
 * all others: the content of `<XResult>`, PascalCase names and `{ member: [...] }` lists). Undefined properties are left
 * out of the answer. Throws AwsError.
 */
export type Operation = (call: Call) => Record<string, unknown>;
export type Operations = Readonly<Record<string, Operation>>;
