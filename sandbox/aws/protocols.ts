import { AwsError } from "./query.ts";

/** How the services differ on the wire. */

export type AwsService = "ec2" | "autoscaling" | "sts" | "elasticloadbalancing" | "cloudwatch";

export interface Protocol {
  readonly version: string;
  readonly namespace: string;
  /** EC2's variant has neither `<XResult>` nor `<ErrorResponse>`. */
  readonly variant: "ec2" | "query";
  readonly unknownKey: AwsError;
  readonly expired: AwsError;
  /** Operations that nobody signs. */
  readonly unsigned?: readonly string[];
  /** How the AWS JSON protocol calls the service, where it is spoken too. */
  readonly target?: string;
}

const unknownToken = new AwsError(
  "InvalidClientTokenId",
  "The security token included in the request is invalid.",
  403,
);
const expiredToken = new AwsError(
  "ExpiredToken",
  "The security token included in the request is expired",
  403,
);

// EC2 API reference, Error codes; Common errors of the other services' API references.
export const protocols: Readonly<Record<AwsService, Protocol>> = {
  ec2: {
    version: "2016-11-15",
    namespace: "http://ec2.amazonaws.com/doc/2016-11-15/",
    variant: "ec2",
    unknownKey: new AwsError(
      "AuthFailure",
      "AWS was not able to validate the provided access credentials",
      401,
    ),
    expired: new AwsError("RequestExpired", "Request has expired."),
  },
  autoscaling: {
    version: "2011-01-01",
    namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
  },
  sts: {
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
    // STS API reference, AssumeRoleWithWebIdentity: "does not require the use of AWS security credentials".
    unsigned: ["AssumeRoleWithWebIdentity"],
  },
  elasticloadbalancing: {
    version: "2015-12-01",
    namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
  },
  cloudwatch: {
    version: "2010-08-01",
    namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
    variant: "query",
    unknownKey: unknownToken,
    expired: expiredToken,
    target: "GraniteServiceVersion20100801",
  },
};

export const serviceNames: readonly AwsService[] = [
  "ec2",
  "autoscaling",
  "sts",
  "elasticloadbalancing",
  "cloudwatch",
];
