/**
 * The example's config with a production of its own, which pushes to `main` go to.
 * @param settings what stands below it, indented by four
 */
export const configOf = (settings: string): string => `application: web
image:
  template: packer/web.pkr.hcl
  inputs: [packer/**, app/**]
environments:
  dev:
    branches: [develop]
    targets: [{ region: eu-west-1, auto-scaling-group: web-dev }]
  production:
    branches: [main]
${settings}`;
