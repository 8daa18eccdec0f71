/**
 * What Auto Scaling needs of EC2. EC2's world implements it (`sandbox/aws/ec2/`), the refresh engine's own tests may
 * use a small one of their own.
 */
export interface Fleet {
  /** The image as an account in a region sees it, or undefined where AWS would say `InvalidAMIID.NotFound`. */
  image(place: Place, imageId: string): FleetImage | undefined;
  /**
   * The launch template version that a specification means now (`$Latest`, `$Default` or a number; an absent version
   * means `$Default`). Throws AwsError as DescribeLaunchTemplateVersions does.
   */
  launchTemplateVersion(
    place: Place,
    specification: LaunchTemplateSpecification,
  ): ResolvedLaunchTemplateVersion;
  /** Launches one instance; throws AwsError as RunInstances does (image gone, pending, of another architecture). */
  launch(place: Place, request: FleetLaunch): string;
  /** Starts terminating an instance; unknown ids are ignored. */
  terminate(place: Place, instanceId: string): void;
  /** The image that `resolve:ssm:…` means now; without this an alias stays as it is, for `launch` to resolve. */
  resolveImage?(place: Place, imageId: string): string;
  /** Makes an instance one of another image. */
  replaceRootVolume?(place: Place, instanceId: string, imageId: string): void;
}

export interface Place {
  readonly region: string;
  readonly accountId: string;
}

export interface FleetImage {
  readonly imageId: string;
  /** `pending`, `available`, `failed`, `error`, `invalid`, `deregistered`, `disabled`. */
  readonly state: string;
  readonly architecture: string;
  readonly ownerId: string;
}

export interface LaunchTemplateSpecification {
  readonly launchTemplateId?: string | undefined;
  readonly launchTemplateName?: string | undefined;
  readonly version?: string | undefined;
}

export interface ResolvedLaunchTemplateVersion {
  readonly launchTemplateId: string;
  readonly launchTemplateName: string;
  /** Always a number, as a decimal string. */
  readonly version: string;
  /** `ami-…`, or `resolve:ssm:…` as written in the template; absent where the template has none. */
  readonly imageId: string | undefined;
  readonly instanceType: string | undefined;
}

export interface FleetLaunch {
  readonly imageId: string;
  readonly instanceType: string;
  readonly availabilityZone: string;
  readonly launchTemplate: { readonly launchTemplateId: string; readonly version: string } | undefined;
  readonly tags: Readonly<Record<string, string>>;
}
