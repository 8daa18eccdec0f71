/** One request that a sandbox server answered, as the tests assert on it. */
export interface LoggedRequest {
  /** `ec2`, `autoscaling`, `sts` or `github`. */
  readonly service: string;
  /** AWS: the `Action`. GitHub: method and path (`POST /repos/o/r/git/refs`), GraphQL: `POST /graphql`. */
  readonly action: string;
  /** AWS: the region of the credential scope. GitHub: absent. */
  readonly region?: string;
  /** AWS: the decoded parameters. GitHub: the JSON body. */
  readonly params: unknown;
  /** Sandbox time. */
  readonly at: Date;
  /** True where the request could have changed something (AWS: not Describe/Get/List; GitHub: not GET, not a GraphQL query). */
  readonly writes: boolean;
  /** The user agent header: tells Packer's requests from ours. */
  readonly userAgent: string;
  /** HTTP status answered; 0 when the connection was dropped. Set when answered. */
  status: number;
  /** AWS error code or GitHub message, when it failed. */
  error?: string;
}

/** All requests of one sandbox, in the order of their arrival. */
export class RequestLog {
  readonly entries: LoggedRequest[] = [];

  add(request: LoggedRequest): LoggedRequest {
    this.entries.push(request);
    return request;
  }

  /** The requests since `mark` (an earlier `entries.length`). */
  since(mark: number): readonly LoggedRequest[] {
    return this.entries.slice(mark);
  }

  /** The requests that could have changed something. */
  writes(since = 0): readonly LoggedRequest[] {
    return this.entries.slice(since).filter((entry) => entry.writes);
  }

  clear(): void {
    this.entries.length = 0;
  }
}
