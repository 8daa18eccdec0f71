import type { EC2Client } from "@aws-sdk/client-ec2";
import fc from "fast-check";
import { expect, test } from "vitest";
import { imageNeeds, type ObservedEnvironment } from "../../src/commands/image-needs.ts";
import { RemoteError } from "../../src/domain/errors.ts";
import { planRetirement, type RetirementWorld, type StoredImage } from "../../src/image/retirement.ts";
import type { ReleaseRecord } from "../../src/release/record.ts";
import { readVersionImages } from "../../src/rollout/target-images.ts";
import type { TargetState } from "../../src/rollout/target-state.ts";
import { carriedOut, DAY, idOf, NOW, OURS, storedImage, TAGS, worldOf } from "../image/stored-images.ts";
import { RECORD } from "../release/records.ts";
import { instance, targetState } from "../rollout/states.ts";

/** Random worlds, from what AWS and the ledger show to what becomes of the images. */

const KEEP = 3;
const SETTINGS = { keep: KEEP, minAge: 7 * DAY, grace: 14 * DAY };
const ELSEWHERE = "ami-0fffffffffffffff0";

/** An environment while it is put together: one group, its templates' versions, its records. */
interface Draft {
  state: TargetState;
  readonly versions: Map<string, Map<number, string>>;
  readonly defaults: Map<string, number>;
  records: ReleaseRecord[];
}

/** Adds a version to a template, with an older and a newer one around it, so that it is neither default nor latest. */
function version(draft: Draft, template: string, imageId: string): string {
  const versions = draft.versions.get(template) ?? new Map<number, string>([[1, ELSEWHERE]]);
  const number = versions.size + 1;
  versions.set(number, imageId);
  versions.set(number + 1, ELSEWHERE);
  draft.versions.set(template, versions);
  return String(number);
}

const LIFECYCLES = [
  "Pending",
  "InService",
  "Standby",
  "Terminating",
  "EnteringStandby",
  "Detaching",
  "Quarantined",
];
const member = (number: number) => ({
  lifecycleState: LIFECYCLES[number % LIFECYCLES.length] ?? "",
  id: `i-${number}`,
});

function withRefresh(
  draft: Draft,
  desired: NonNullable<TargetState["activeRefresh"]>["DesiredConfiguration"],
): void {
  const before = draft.state.activeRefresh?.DesiredConfiguration;
  const overrides = [
    ...(before?.MixedInstancesPolicy?.LaunchTemplate?.Overrides ?? []),
    ...(desired?.MixedInstancesPolicy?.LaunchTemplate?.Overrides ?? []),
  ];
  draft.state = {
    ...draft.state,
    activeRefresh: {
      Status: "InProgress",
      DesiredConfiguration: {
        ...before,
        ...desired,
        MixedInstancesPolicy: { LaunchTemplate: { Overrides: overrides } },
      },
    },
  };
}

/** Every way in which an environment can have a use for an image. */
const WAYS: Readonly<Record<string, (draft: Draft, imageId: string, random: number) => void>> = {
  "an instance has it as its own": (draft, imageId, random) => {
    draft.state = {
      ...draft.state,
      instances: [...draft.state.instances, instance({ ...member(random), imageId })],
    };
  },
  "an instance was launched from a version with it": (draft, imageId, random) => {
    const templateVersion = version(draft, "lt-1", imageId);
    const launched = instance({ ...member(random), templateId: "lt-1", templateVersion });
    draft.state = { ...draft.state, instances: [...draft.state.instances, launched] };
  },
  "an instance was launched from a template that the group has no more": (draft, imageId, random) => {
    const templateVersion = version(draft, "lt-old", imageId);
    const launched = instance({ ...member(random), templateId: "lt-old", templateVersion });
    draft.state = { ...draft.state, instances: [...draft.state.instances, launched] };
  },
  "the group launches from a version with it": (draft, imageId) => {
    const number = version(draft, "lt-1", imageId);
    draft.state = {
      ...draft.state,
      template: { ...draft.state.template, version: number, written: number, imageId },
    };
  },
  "an override has a template of its own with it": (draft, imageId) => {
    const number = version(draft, "lt-2", imageId);
    const own = {
      id: "lt-2",
      name: "web-arm",
      version: number,
      written: number,
      imageId,
      instanceType: undefined,
    };
    draft.state = { ...draft.state, overrideTemplates: [...draft.state.overrideTemplates, own] };
  },
  "an override names it": (draft, imageId) => {
    const overrides = draft.state.mixedInstancesPolicy?.LaunchTemplate?.Overrides ?? [];
    draft.state = {
      ...draft.state,
      mixedInstancesPolicy: { LaunchTemplate: { Overrides: [...overrides, { ImageId: imageId }] } },
    };
  },
  "a running refresh wants a version with it": (draft, imageId) => {
    const Version = version(draft, "lt-1", imageId);
    withRefresh(draft, { LaunchTemplate: { LaunchTemplateId: "lt-1", Version } });
  },
  "a running refresh wants it, by a template's name": (draft, imageId) => {
    const Version = version(draft, "by-name", imageId);
    const LaunchTemplateSpecification = { LaunchTemplateName: "by-name", Version };
    withRefresh(draft, {
      MixedInstancesPolicy: { LaunchTemplate: { Overrides: [{ LaunchTemplateSpecification }] } },
    });
  },
  "a running refresh's override names it": (draft, imageId) => {
    withRefresh(draft, { MixedInstancesPolicy: { LaunchTemplate: { Overrides: [{ ImageId: imageId }] } } });
  },
  "a template's newest version has it": (draft, imageId) => {
    const number = Number(version(draft, "lt-1", imageId));
    draft.versions.get("lt-1")?.delete(number + 1);
  },
  "a template's default version has it": (draft, imageId) => {
    draft.defaults.set("lt-1", Number(version(draft, "lt-1", imageId)));
  },
  "the template takes it from a parameter": (draft, imageId) => {
    const number = version(draft, "lt-1", `resolve:ssm:/${imageId}`);
    draft.state = {
      ...draft.state,
      template: {
        ...draft.state.template,
        version: number,
        written: number,
        imageId: `resolve:ssm:/${imageId}`,
      },
    };
  },
  "one of the newest records names it": (draft, imageId, random) => {
    const number = 100 - (random % KEEP);
    const before = draft.records.find(({ tag }) => tag.number === number) ?? recordOf(number, {});
    const images = { ...before.images, [`region-${Object.keys(before.images).length}`]: imageId };
    const record = { ...before, images: images as ReleaseRecord["images"] };
    draft.records = [...draft.records.filter(({ tag }) => tag.number !== number), record].sort(
      (a, b) => b.tag.number - a.tag.number,
    );
  },
  "one of the newest records names a version with it": (draft, imageId, random) => {
    const number = 100 - (random % KEEP);
    const entry = {
      region: "eu-west-1",
      group: "web",
      launchTemplate: "lt-1",
      version: version(draft, "lt-1", imageId),
    };
    draft.records = draft.records.map((record) =>
      record.tag.number === number ? { ...record, targets: [...record.targets, entry] } : record,
    );
  },
};

const recordOf = (number: number, images: Readonly<Record<string, string>>): ReleaseRecord => ({
  ...RECORD,
  tag: { ...RECORD.tag, number },
  images: images as ReleaseRecord["images"],
  targets: [],
});

const emptyDraft = (): Draft => ({
  state: targetState({
    instances: [],
    template: { ...targetState().template, version: "1", written: "1", imageId: ELSEWHERE },
  }),
  versions: new Map([["lt-1", new Map([[1, ELSEWHERE]])]]),
  defaults: new Map(),
  records: [100, 99, 98, 97, 96].map((number) => recordOf(number, {})),
});

/** EC2 with an environment's templates: an unknown version fails the whole request, as AWS does. */
function ec2Of({ versions, defaults }: Draft): EC2Client {
  const send = async ({ input }: { readonly input: Readonly<Record<string, unknown>> }) => {
    const template = String(input["LaunchTemplateId"] ?? input["LaunchTemplateName"]);
    const known = versions.get(template);
    if (known === undefined) throw new RemoteError("none", { code: "InvalidLaunchTemplateId.NotFound" });
    const numbers = (input["Versions"] as readonly string[]).map((text) => {
      if (text === "$Default") return defaults.get(template) ?? 1;
      return text === "$Latest" ? Math.max(...known.keys()) : Number(text);
    });
    if (numbers.some((number) => !known.has(number)))
      throw new RemoteError("none", { code: "InvalidLaunchTemplateId.VersionNotFound" });
    return {
      LaunchTemplateVersions: [...new Set(numbers)].map((number) => ({
        LaunchTemplateId: template,
        LaunchTemplateName: template,
        VersionNumber: number,
        LaunchTemplateData: {
          ImageId:
            input["ResolveAlias"] === true
              ? known.get(number)?.replace("resolve:ssm:/", "")
              : known.get(number),
        },
      })),
    };
  };
  return { send } as unknown as EC2Client;
}

const date = (least: number, most: number) =>
  fc.double({ min: least, max: most, noNaN: true }).map((days) => new Date(NOW.getTime() - days * DAY));
const mostly = <T>(value: T, ...others: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant(value) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );

const image = fc.record(
  {
    region: fc.constantFrom("eu-west-1", "us-east-1"),
    owner: mostly(OURS.account, "222222222222"),
    state: mostly("available", "pending", "failed", "disabled"),
    created: date(0, 60),
    deprecated: fc.option(date(-20, 60), { nil: undefined }),
    lastLaunched: fc.option(date(1, 60), { nil: undefined, freq: 3 }),
    protection: fc.constantFrom("none", "with cooldown", "without cooldown"),
    tags: mostly<Readonly<Record<string, string>>>(
      TAGS,
      { ...TAGS, "kiln:application": "api" },
      { ...TAGS, "kiln:repository": "acme/other" },
      { ...TAGS, "kiln:digest": "sha256:0" },
      {},
    ),
  },
  { noNullPrototype: true },
);

const POOL = 10;
const uses = fc.array(
  fc.record(
    {
      way: fc.constantFrom(...Object.keys(WAYS)),
      image: fc.nat(POOL - 1),
      environment: fc.nat(2),
      random: fc.nat(50),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 6 },
);
const worlds = fc.record(
  {
    images: fc.array(image, { minLength: 1, maxLength: POOL }),
    uses,
    running: fc.uniqueArray(fc.nat(POOL - 1), { maxLength: 2 }),
    /** Records too old to count. */
    forgotten: fc.nat(POOL - 1),
  },
  { noNullPrototype: true },
);

type Given = typeof worlds extends fc.Arbitrary<infer T> ? T : never;

async function observed({ images, uses, running, forgotten }: Given): Promise<{
  world: RetirementWorld;
  used: ReadonlySet<string>;
}> {
  const drafts = [emptyDraft(), emptyDraft(), emptyDraft()];
  for (const draft of drafts)
    draft.records = draft.records.map((record) =>
      record.tag.number < 98 ? recordOf(record.tag.number, { old: idOf(forgotten) }) : record,
    );
  for (const { way, image, environment, random } of uses) {
    const draft = drafts[environment];
    if (draft !== undefined) WAYS[way]?.(draft, idOf(image), random);
  }
  // What replaced another in the same place is the group's no more: only where it is last it counts.
  const environments = await Promise.all(
    drafts.map(async (draft): Promise<ObservedEnvironment> => {
      const recorded = draft.records
        .slice(0, KEEP)
        .flatMap(({ targets }) =>
          targets.map((target) => ({ templateId: target.launchTemplate, version: target.version })),
        );
      const versions = await readVersionImages(ec2Of(draft), draft.state, { recorded, recent: 0 });
      return { records: draft.records.slice(0, KEEP), targets: [{ state: draft.state, versions }] };
    }),
  );
  const launched = new Set(running.map(idOf));
  return {
    world: worldOf(
      images.map((changes, index) => storedImage(index, changes)),
      { settings: SETTINGS, ...imageNeeds(environments), launched },
    ),
    used: new Set([...stillUsed(uses), ...launched]),
  };
}

/** Places that hold one image only: a later use takes the place of an earlier one. */
const SINGLE: Readonly<Record<string, string>> = {
  "the group launches from a version with it": "template",
  "the template takes it from a parameter": "template",
  "a running refresh wants a version with it": "refresh",
  "a template's default version has it": "default",
};

/** The ways that make a version of the group's own template. */
const NEW_VERSION = /version with it$|newest version|default version|parameter$/;

function stillUsed(uses: Given["uses"]): ReadonlySet<string> {
  const found = new Map<string, string>();
  for (const [index, { way, image, environment }] of uses.entries()) {
    const place = SINGLE[way];
    // The newest version is that of the last template version made.
    const isLatest = way === "a template's newest version has it";
    const later = uses
      .slice(index + 1)
      .some((other) => other.environment === environment && NEW_VERSION.test(other.way));
    if (isLatest && later) continue;
    found.set(place === undefined ? `${index}` : `${environment} ${place}`, idOf(image));
  }
  return new Set(found.values());
}

const ours = ({ owner, tags }: StoredImage): boolean => owner === OURS.account && tags === TAGS;
const RETIRING = new Set(["deprecated", "deregistered", "waiting"]);
const newestIds = (images: readonly StoredImage[]): ReadonlySet<string> =>
  new Set(
    ["eu-west-1", "us-east-1"].flatMap(
      (region) =>
        images
          .filter((each) => ours(each) && each.region === region && each.state === "available")
          .toSorted((a, b) => b.created.getTime() - a.created.getTime())[0]?.id ?? [],
    ),
  );
const at = (milliseconds: number): Date => new Date(NOW.getTime() + milliseconds);
const RUNS = { numRuns: 2000 };

test("an image that is in use in any way is neither deprecated nor deregistered", async () => {
  await fc.assert(
    fc.asyncProperty(worlds, async (given) => {
      const { world, used } = await observed(given);
      const newest = newestIds(world.images);
      const young = (when: Date | undefined): boolean =>
        when !== undefined && NOW.getTime() - when.getTime() < SETTINGS.minAge;
      const wrong = planRetirement(world).steps.filter(
        ({ image, action }) =>
          RETIRING.has(action) &&
          (used.has(image.id) || newest.has(image.id) || young(image.created) || young(image.lastLaunched)),
      );
      expect(wrong).toStrictEqual([]);
    }),
    RUNS,
  );
});

test.each(Object.keys(WAYS))("in use means that %s", async (way) => {
  const images = [storedImage(0, { deprecated: at(-30 * DAY) }), storedImage(1, { created: at(-90 * DAY) })];
  for (const random of [0, 1, 2, 3, 4, 5, 6]) {
    const given: Omit<Given, "uses"> = {
      images: images.map((each) => ({ ...each, region: "eu-west-1" as const })),
      running: [],
      forgotten: 9,
    };
    const { world } = await observed({ ...given, uses: [{ way, image: 0, environment: 1, random }] });
    expect(planRetirement(world).steps.filter(({ action }) => RETIRING.has(action))).toStrictEqual([]);
    const unused = await observed({ ...given, uses: [] });
    expect(planRetirement(unused.world).steps).toMatchObject([
      { action: "deregistered", image: { id: idOf(0) } },
    ]);
  }
});

test("foreign images are never touched", async () => {
  await fc.assert(
    fc.asyncProperty(worlds, async (given) => {
      const { world } = await observed(given);
      const touched = planRetirement(world).steps.map(({ image }) => image);
      expect(touched.filter((each) => !ours(each) || each.state !== "available")).toStrictEqual([]);
    }),
    RUNS,
  );
});

/** When an image's time of age or of grace ends, or its planned deprecation begins. */
const turns = ({ created, lastLaunched, deprecated }: StoredImage): number[] => [
  created.getTime() + SETTINGS.minAge,
  (lastLaunched?.getTime() ?? 0) + SETTINGS.minAge,
  (deprecated?.getTime() ?? 0) + SETTINGS.grace,
  (deprecated?.getTime() ?? 0) - 15 * 60_000,
];

test("running twice changes nothing more", async () => {
  await fc.assert(
    fc.asyncProperty(worlds, fc.integer({ min: 0, max: 3_600_000 }), async (given, later) => {
      const { world } = await observed(given);
      const images = carriedOut(world.images, planRetirement(world), NOW);
      const again = planRetirement({ ...world, images, now: at(later) });
      // But for the few whose time comes in between.
      const turning = new Set(
        world.images
          .filter((each) => turns(each).some((end) => end > NOW.getTime() && end <= NOW.getTime() + later))
          .map(({ id }) => id),
      );
      const changes = again.steps.filter(
        ({ action, image }) => action !== "waiting" && !turning.has(image.id),
      );
      expect(changes).toStrictEqual([]);
    }),
    RUNS,
  );
});

/** A world after a run, and another when all that the first one deprecated has had its time of grace. */
async function afterGrace(given: Given) {
  const { world, used } = await observed(given);
  const first = carriedOut(world.images, planRetirement(world), NOW);
  const end = at(SETTINGS.grace + 3_600_000);
  const second = carriedOut(first, planRetirement({ ...world, images: first, now: end }), end);
  const left = new Map(second.map((each) => [each.id, each]));
  return { world, used, end, left, mayGo: (each: StoredImage) => ours(each) && each.state === "available" };
}

test("after the time of grace everything that is old and that nothing needs is gone", async () => {
  await fc.assert(
    fc.asyncProperty(worlds, async (given) => {
      const { world, used, left, mayGo } = await afterGrace(given);
      const newest = newestIds(world.images);
      const isOld = ({ created, lastLaunched }: StoredImage): boolean =>
        [created, lastLaunched].every(
          (when) => when === undefined || when.getTime() <= NOW.getTime() - SETTINGS.minAge,
        );
      const gone = world.images.filter(
        (each) => mayGo(each) && isOld(each) && !used.has(each.id) && !newest.has(each.id),
      );
      expect(gone.filter(({ id }) => left.has(id))).toStrictEqual([]);
    }),
    RUNS,
  );
});

test("after the time of grace what is needed is whole, and what is foreign is as it was", async () => {
  await fc.assert(
    fc.asyncProperty(worlds, async (given) => {
      const { world, used, end, left, mayGo } = await afterGrace(given);
      const needed = world.images.filter((each) => mayGo(each) && used.has(each.id));
      const whole = (each: StoredImage | undefined): boolean =>
        each !== undefined &&
        (each.deprecated === undefined || each.deprecated > end) &&
        (!world.current.has(each.id) || each.protection !== "none");
      expect(needed.filter(({ id }) => !whole(left.get(id)))).toStrictEqual([]);
      const foreign = world.images.filter((each) => !mayGo(each));
      expect(foreign.map(({ id }) => left.get(id))).toStrictEqual(foreign);
    }),
    RUNS,
  );
});
