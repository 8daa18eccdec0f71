import type { Result } from "../../src/domain/result.ts";

/** Results as runs end with them. */

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

const IMAGE: NonNullable<Result["image"]> = {
  digest: `sha256:0123456789ab${"c".repeat(52)}`,
  name: "web-v1.4.2-0123456789ab",
  ids: { "eu-west-1": "ami-0aaaaaaaaaaaaaaaa" },
  baked: true,
  commit: COMMIT,
  created: "2026-11-18T10:05:00.000Z",
  baseImages: { "eu-west-1": "ami-0bbbbbbbbbbbbbbbb" },
  phases: [
    { phase: "launch", seconds: 20 },
    { phase: "provision", seconds: 140 },
  ],
};

const BASE = {
  command: "deploy",
  application: "web",
  commit: COMMIT,
  version: "v1.4.2",
  image: IMAGE,
} as const;

const TARGET = {
  region: "eu-west-1",
  autoScalingGroup: "web-production",
  launchTemplate: "lt-0123456789abcdef0",
  launchTemplateVersion: "8",
} as const;

const PLAN = [
  "bake web-v1.4.2-0123456789ab with Packer: no image has this content yet",
  "make a version of web from 7: image ami-0cccccccccccccccc → the new image",
  "record it as release/production/000042 on commit 0123456789ab, after release/production/000041",
];

const CHANGES: NonNullable<Result["environments"][number]["changes"]> = {
  since: "release/production/000041",
  sameContent: false,
  commits: {
    added: 7,
    takenBack: 0,
    listed: "added",
    newest: [
      { commit: COMMIT, subject: "Escape <b>this</b> | and `that` [link](https://example.test)" },
      { commit: "c0ffee".repeat(7).slice(0, 40), subject: "Take nginx 1.26" },
    ],
    url: "https://github.com/acme/web/compare/a...b",
  },
  content: {
    counts: { changed: 4, added: 0, removed: 0 },
    changed: ["app/server.py", "app/web.service", "packer/provision.sh", "packer/web.pkr.hcl"],
    added: [],
    removed: [],
    variables: ["nginx_version changed"],
  },
  packages: {
    counts: { changed: 1, added: 2, removed: 300 },
    changed: [{ name: "nginx", from: "1.24", to: "1.26" }],
    added: [
      { name: "a|b", version: "1" },
      { name: "a`b", version: "1" },
    ],
    removed: [{ name: "</details>", version: "1" }],
  },
  baseImage: { from: "ami-0bbbbbbbbbbbbbbbb", to: "ami-0dddddddddddddddd" },
  targets: [
    {
      target: "eu-west-1/web-production",
      image: { from: "ami-0cccccccccccccccc", to: "ami-0aaaaaaaaaaaaaaaa" },
      instanceType: { from: "t3.small", to: "t3.large" },
    },
  ],
};

export const RESULTS = {
  released: {
    ...BASE,
    outcome: "succeeded",
    environments: [
      {
        environment: "qa",
        outcome: "unchanged",
        release: "release/qa/000107",
        releaseNumber: 107,
      },
      {
        environment: "production",
        outcome: "succeeded",
        release: "release/production/000042",
        releaseNumber: 42,
        previousRelease: "release/production/000041",
        previousImages: { "eu-west-1": "ami-0cccccccccccccccc" },
        plan: PLAN,
        warnings: ["eu-west-1/web-production: new instances have no warm-up"],
        targets: [{ ...TARGET, instanceRefresh: "r-1", adopted: false, seconds: 412, verified: 4 }],
        changes: CHANGES,
      },
    ],
  },
  unchanged: {
    ...BASE,
    outcome: "unchanged",
    image: { ...IMAGE, baked: false },
    environments: [
      {
        environment: "production",
        outcome: "unchanged",
        release: "release/production/000042",
        releaseNumber: 42,
      },
    ],
  },
  planned: {
    ...BASE,
    outcome: "planned",
    image: { digest: IMAGE.digest },
    environments: [{ environment: "production", outcome: "planned", plan: PLAN, warnings: [] }],
  },
  failed: {
    ...BASE,
    outcome: "failed",
    environments: [
      {
        environment: "production",
        outcome: "failed",
        plan: PLAN,
        targets: [{ ...TARGET, instanceRefresh: "r-1" }],
      },
    ],
    error: {
      message: "eu-west-1/web-production: the rollout failed: no capacity",
      state: "The group launches from version 7.\n```\nNothing was recorded.",
      next: "Run the job again.",
    },
  },
  "not-recorded": {
    ...BASE,
    outcome: "failed",
    environments: [
      {
        environment: "production",
        outcome: "failed",
        targets: [{ ...TARGET, instanceRefresh: "r-1", adopted: true, seconds: 412, verified: 4 }],
        unrecorded: "Release web v1.4.2 to production (release 42)\n\nKiln-Record: 1\nVersion: ````\n",
      },
    ],
    error: { message: "production was rolled out, not recorded: 403" },
  },
  "rolled-back": {
    ...BASE,
    outcome: "rolled-back",
    environments: [{ environment: "production", outcome: "rolled-back", targets: [TARGET] }],
    error: { message: "eu-west-1/web-production: the rollout was rolled back: an alarm" },
  },
  baked: { ...BASE, command: "bake", outcome: "succeeded", environments: [] },
  skipped: {
    command: "deploy",
    application: "web",
    commit: COMMIT,
    version: "v1.4.2",
    outcome: "skipped",
    environments: [],
  },
  pruned: {
    command: "prune",
    outcome: "failed",
    application: "web",
    environments: [],
    prune: {
      kept: 12,
      gigabytes: 16,
      images: [
        {
          region: "eu-west-1",
          imageId: "ami-0aaaaaaaaaaaaaaaa",
          name: "web-v1.3.0-0123456789ab",
          action: "deregistered",
          why: "deprecated since 2026-11-01, and still nothing needs it",
          days: 61,
          gigabytes: 16,
        },
        {
          region: "us-east-1",
          imageId: "ami-0bbbbbbbbbbbbbbbb",
          name: "web-v1.3.0|0123456789ab",
          action: "deprecated",
          why: "nothing runs it, and it is not among the last 10 releases of any environment",
          days: 1,
          gigabytes: 8,
          failed: "The role may not do ec2:EnableImageDeprecation in us-east-1",
        },
      ],
    },
    error: { message: "An image could not be pruned as planned" },
  },
  refused: {
    command: "deploy",
    outcome: "failed",
    environments: [],
    error: { message: "input token: is empty", state: "Nothing was changed." },
  },
} as const satisfies Readonly<Record<string, Result>>;
