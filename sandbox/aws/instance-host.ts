/**
 * What stands behind an instance that RunInstances started: an address that Packer can open an SSH connection to.
 * `sandbox/aws/ssh.ts` has the real one; without a host, instances get addresses that nobody answers on.
 */
export interface InstanceHost {
  /** Called by RunInstances: reserves an address on loopback for the instance. */
  reserve(instanceId: string): { readonly publicIp: string; readonly privateIp: string };
  /** Called when the instance enters `running`. `publicKey` is the OpenSSH public key of its key pair, if it has one. */
  boot(instance: {
    readonly instanceId: string;
    readonly publicIp: string;
    readonly publicKey: string | undefined;
  }): void;
  /** Called when the instance is stopped or terminated: nothing answers at its address any more. */
  shutDown(instanceId: string): void;
}
