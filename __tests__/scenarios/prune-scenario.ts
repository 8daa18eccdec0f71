import type { Place } from "../../sandbox/aws/fleet.ts";
import { HOME } from "../../sandbox/sandbox.ts";
import { formatRecord } from "../../src/release/record.ts";
import { DAY, TAGS } from "../image/stored-images.ts";
import { RECORD } from "../release/records.ts";
import { Stage } from "./stage.ts";

export const AWAY: Place = { region: "us-east-1", accountId: HOME.accountId };
/** What the example's base images have in common with ours is nothing; what has our name may be somebody else's. */
const FOREIGN = { ...TAGS, "kiln:repository": "acme/fork" };

/** AWS tells the time in whole seconds. */
const SECOND = 1000;
/** Real time: the action's clock is the runner's, and AWS refuses a deprecation in the past. */
export const PRUNE_SPEED = 1;

/** An application with images of all ages, for `prune`. */
export class PruneScenario {
  readonly stage: Stage;
  readonly ids: Record<string, string> = {};

  constructor(stage: Stage) {
    this.stage = stage;
  }

  /** Two regions: production's image and an old one in both, and somebody else's. */
  static async open(): Promise<PruneScenario> {
    return PruneScenario.on(await Stage.open({ ssh: false, speed: PRUNE_SPEED }), [HOME, AWAY]);
  }

  /** The same in these regions. */
  static async on(stage: Stage, places: readonly Place[]): Promise<PruneScenario> {
    const scenario = new PruneScenario(stage);
    for (const place of places) {
      scenario.image(`old ${place.region}`, "web-old-0123456789ab", 60, TAGS, place);
      const current = scenario.image(`current ${place.region}`, "web-current-0123456789ab", 30, TAGS, place);
      scenario.image(`foreign ${place.region}`, "web-foreign-0123456789ab", 90, FOREIGN, place);
      const template = stage.sandbox.ec2.addLaunchTemplate(place, `web-live-${place.region}`, {
        ImageId: current,
        InstanceType: "t3.small",
      });
      stage.sandbox.autoScaling.addGroup({
        ...place,
        name: "web-live",
        min: 0,
        max: 2,
        desired: 1,
        launchTemplate: { launchTemplateId: template.id, version: "1" },
      });
    }
    await stage.commit("Two regions", {
      ".github/kiln.yml": `application: web
image: { template: packer/web.pkr.hcl }
environments:
  production:
    branches: [main]
    targets:
${places.map(({ region }) => `      - { region: ${region}, auto-scaling-group: web-live }`).join("\n")}
prune: { keep: 1, grace: 2d }
`,
    });
    await stage.copy.push("main");
    await scenario.record(
      1,
      Object.fromEntries(places.map(({ region }) => [region, scenario.id(`current ${region}`)])),
    );
    return scenario;
  }

  id(name: string): string {
    return this.ids[name] ?? "";
  }

  image(
    key: string,
    name: string,
    days: number,
    tags: Readonly<Record<string, string>>,
    place = HOME,
  ): string {
    const image = this.stage.sandbox.ec2.addImage(place, { name, tags });
    Object.assign(image, { createdAt: this.stage.sandbox.clock.now() - days * DAY - SECOND });
    this.ids[key] = image.id;
    return image.id;
  }

  async record(number: number, images: Readonly<Record<string, string>>): Promise<void> {
    const commit = await this.stage.copy.head();
    const tag = { ...RECORD.tag, number };
    const message = formatRecord({ ...RECORD, tag, commit, images: images as typeof RECORD.images }, "");
    const name = `release/production/${String(number).padStart(6, "0")}`;
    this.stage.git(
      "-c",
      "user.name=Ada",
      "-c",
      "user.email=ada@example.com",
      "tag",
      "-a",
      "-m",
      message,
      name,
      commit,
    );
  }

  prune(inputs: Readonly<Record<string, string>> = {}) {
    return this.stage.run({
      event: "schedule",
      ref: "refs/heads/main",
      inputs: { command: "prune", ...inputs },
    });
  }

  /** As if the images had been deprecated that long ago. */
  backdate(days: number): void {
    for (const image of this.stage.sandbox.ec2.images())
      if (image.deprecatedAt !== undefined) image.deprecatedAt -= days * DAY;
  }

  /** The names of images of ours and others' that are there, with what can be seen of them. */
  there(): Record<string, string> {
    const images = new Map(this.stage.sandbox.ec2.images().map((image) => [image.id, image]));
    return Object.fromEntries(
      Object.entries(this.ids).flatMap(([key, id]) => {
        const image = images.get(id);
        if (image === undefined || image.deregisteredAt !== undefined) return [];
        const state = [
          ...(image.deprecatedAt === undefined ? [] : ["deprecated"]),
          ...(image.protection === "disabled" ? [] : ["protected"]),
        ];
        return [[key, state.join(", ") || "there"]];
      }),
    );
  }

  snapshots(): number {
    return this.stage.sandbox.ec2.snapshots().length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
  }
}
