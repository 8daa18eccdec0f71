/**
 * A config of the example's image.
 * @param more what follows `dev`'s target: more of its settings, indented by four, and environments, by two
 */
export const configOf = (more: string): string => `application: web
image:
  template: packer/web.pkr.hcl
  inputs: [packer/**, app/**]
environments:
  dev:
    branches: [develop]
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
${more}`;

/**
 * The same with a production of its own, which pushes to `main` go to.
 * @param settings what stands below it, indented by four
 */
export const configWithProduction = (settings: string): string =>
  configOf(`  production:\n    branches: [main]\n${settings}`);
