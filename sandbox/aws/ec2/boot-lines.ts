/** The end of a boot that went well, as Ubuntu tells it. */
export function bootLines(instanceId: string): string {
  return [
    "[    0.000000] Linux version 6.8.0-1021-aws (buildd@lcy02-amd64-032) #23-Ubuntu SMP",
    "[    0.000000] Command line: BOOT_IMAGE=/vmlinuz-6.8.0-1021-aws root=LABEL=cloudimg-rootfs ro console=ttyS0",
    "[    1.284011] EXT4-fs (nvme0n1p1): mounted filesystem with ordered data mode",
    "[    2.901442] systemd[1]: Detected virtualization amazon.",
    `[    8.114920] cloud-init[842]: Cloud-init v. 25.1 running 'modules:final' on ${instanceId}`,
    "[    8.530177] cloud-init[842]: Cloud-init v. 25.1 finished. Datasource DataSourceEc2Local. Up 8.51 seconds",
    "",
    "Ubuntu 24.04 LTS ttyS0",
    "",
    "login: ",
  ].join("\n");
}
