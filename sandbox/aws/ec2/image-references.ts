/** What names an image (EC2 user guide, Identify your resources referencing specified AMIs). */
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { page } from "./paging.ts";
import type { Ec2State } from "./state.ts";
import { owned } from "./state.ts";

interface Reference {
  readonly imageId: string;
  readonly resourceType: string;
  readonly arn: string;
}

/** EC2 API reference, ResourceTypeOption, version-depth. */
const DEFAULT_DEPTH = 10;

export function imageReferenceOperations(state: Ec2State): Operations {
  return {
    DescribeImageReferences(call) {
      const ids = call.query.strings("ImageId");
      if (ids.length < 1 || ids.length > 10)
        throw new AwsError("InvalidParameterValue", "ImageIds must have 1 to 10 items.");
      const types = call.query.structs("ResourceType").map((type) => type.required("ResourceType"));
      const found = types.flatMap((type) => (FINDERS[type] ?? notModelled(type))(state, call));
      const chosen = found.filter(({ imageId }) => ids.includes(imageId));
      const { items, nextToken } = page(state, call, chosen, { action: "DescribeImageReferences" });
      return { nextToken, imageReferenceSet: { item: items } };
    },
  };
}

const FINDERS: Readonly<Record<string, (state: Ec2State, call: Call) => Reference[]>> = {
  "ec2:LaunchTemplate": (state, call) =>
    owned(state, call, "launch-template").flatMap((template) => {
      const newest = template.versions.toSorted((a, b) => b.number - a.number).slice(0, DEFAULT_DEPTH);
      const images = new Set(newest.map(({ data }) => data["ImageId"]));
      const arn = `arn:aws:ec2:${call.region}:${call.accountId}:launch-template/${template.id}`;
      return [...images].flatMap((imageId) =>
        imageId === undefined ? [] : [{ imageId, resourceType: "ec2:LaunchTemplate", arn }],
      );
    }),
  // Image Builder is not modelled: there are no recipes.
  "imagebuilder:ImageRecipe": () => [],
  "imagebuilder:ContainerRecipe": () => [],
  "ssm:Parameter": (state, call) =>
    Object.entries(state.settings.ssmParameters).map(([name, imageId]) => ({
      imageId,
      resourceType: "ssm:Parameter",
      arn: `arn:aws:ssm:${call.region}:${call.accountId}:parameter/${name.replace(/^\//, "")}`,
    })),
};

function notModelled(type: string): never {
  throw new Error(`the sandbox does not look for references of ${type}`);
}
