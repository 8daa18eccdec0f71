import { generateKeyPairSync, randomInt } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { join } from "node:path";
import ssh2 from "ssh2";
import type { AuthContext, Connection, ParsedKey, PublicKeyAuthContext, Session } from "ssh2";
import type { InstanceHost } from "./instance-host.ts";
import { createMachine, type Machine } from "./ssh/machine.ts";
import { parseScp, runScp } from "./ssh/scp.ts";
import { writeShims } from "./ssh/shims.ts";

/**
 * Sandbox instances that one can log in to: each has an address of its own on loopback, an SSH server that knows
 * the key pair of the instance and nothing else, and a scratch folder that stands for its root volume. Packer's
 * communicator cannot tell it from an Ubuntu server that just booted, so its provisioners really run.
 *
 * Not a jail: a command runs with the rights of the sandbox's process, and only `DESTDIR` and good manners keep it
 * inside the scratch folder. Bake templates here that you would run on your own machine.
 */
export interface SshHost extends InstanceHost {
  /** Where the instances listen: 22 where the system lets us, else a high port to give to Packer as `ssh_port`. */
  readonly port: number;
  /** Who has logged in, in order. */
  readonly logins: readonly SshLogin[];
  /** Every command line that came in, in order, as it was sent. */
  readonly commands: readonly SshCommand[];
  /** The folder that stands for the instance's `/`. It stays after the instance has gone, to be looked into. */
  rootFolder(instanceId: string): string;
  close(): Promise<void>;
}

export interface SshLogin {
  readonly instanceId: string;
  readonly user: string;
}

export interface SshCommand extends SshLogin {
  readonly command: string;
}

export interface SshHostOptions {
  /** Scratch space; the caller's to delete. Without blanks in its path: it is put into command lines. */
  readonly folder: string;
  readonly port?: number;
}

export async function createSshHost(options: SshHostOptions): Promise<SshHost> {
  const instancesFolder = join(options.folder, "instances");
  await mkdir(instancesFolder, { recursive: true });
  const shims = join(options.folder, "shims");
  await writeShims(shims);
  const claim = await claimNetwork(options.port === undefined ? [22, 2222, 22_022] : [options.port]);
  return new LoopbackHost(claim, instancesFolder, shims);
}

/** A `/16` of loopback that belongs to one host, and the listener that keeps other hosts out of it. */
interface Network {
  readonly second: number;
  readonly port: number;
  readonly claim: NetServer;
}

/**
 * Several sandboxes may run on one machine (test files do), so each takes 127.N.0.0/16 for itself, and proves it by
 * listening on its first address. A port that is privileged, or taken on all addresses by the machine's own SSH
 * server, shows at the same moment.
 */
async function claimNetwork(ports: readonly number[]): Promise<Network> {
  let failure: unknown;
  for (const port of ports) {
    for (let attempt = 0; attempt < 5; attempt++) {
      const second = randomInt(16, 240);
      const claim = createServer((socket) => socket.destroy());
      try {
        await listen(claim, `127.${second}.0.1`, port);
        return { second, port, claim };
      } catch (error) {
        failure = error;
      }
    }
  }
  throw new Error(`No SSH port can be opened on loopback, tried ${ports.join(", ")}`, { cause: failure });
}

async function listen(server: NetServer, address: string, port: number): Promise<void> {
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject).listen(port, address, () => listening.resolve());
  await listening.promise;
  server.off("error", listening.reject);
}

/** One running instance's side of the network. */
interface Door {
  readonly machine: Machine;
  readonly listener: NetServer;
  readonly sockets: Set<Socket>;
}

class LoopbackHost implements SshHost {
  readonly port: number;
  readonly logins: SshLogin[] = [];
  readonly commands: SshCommand[] = [];
  readonly #network: Network;
  readonly #folder: string;
  readonly #shims: string;
  readonly #hostKey: string;
  readonly #doors = new Map<string, Door>();
  #reserved = 0;
  #closed = false;

  constructor(network: Network, folder: string, shims: string) {
    this.#network = network;
    this.port = network.port;
    this.#folder = folder;
    this.#shims = shims;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    this.#hostKey = privateKey.export({ type: "sec1", format: "pem" }).toString();
  }

  /** The private address is the same: a template with `ssh_interface = "private_ip"` must get through as well. */
  reserve(_instanceId: string): { readonly publicIp: string; readonly privateIp: string } {
    const number = this.#reserved++;
    const address = `127.${this.#network.second}.${1 + Math.floor(number / 250)}.${2 + (number % 250)}`;
    return { publicIp: address, privateIp: address };
  }

  /** An instance without a key pair lets nobody in, so a group's many instances cost no listener each. */
  boot(instance: Parameters<InstanceHost["boot"]>[0]): void {
    if (this.#closed || instance.publicKey === undefined || this.#doors.has(instance.instanceId)) return;
    const machine = createMachine({
      instanceId: instance.instanceId,
      root: this.rootFolder(instance.instanceId),
      shims: this.#shims,
    });
    const key = parsePublicKey(instance.publicKey);
    const sockets = new Set<Socket>();
    const server = new ssh2.Server({ hostKeys: [this.#hostKey] }, (connection) => {
      this.#welcome(connection, machine, key);
    });
    const listener = createServer((socket) => {
      // Answers of a few bytes would otherwise wait for the client's acknowledgement, 40 ms each.
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      server.injectSocket(socket);
    });
    listener.on("error", (error) => process.emitWarning(`${instance.instanceId}: ${error.message}`));
    listener.listen(this.port, instance.publicIp);
    this.#doors.set(instance.instanceId, { machine, listener, sockets });
  }

  shutDown(instanceId: string): void {
    const door = this.#doors.get(instanceId);
    if (door === undefined) return;
    this.#doors.delete(instanceId);
    door.listener.close();
    door.machine.powerOff();
    for (const socket of door.sockets) socket.destroy();
  }

  rootFolder(instanceId: string): string {
    return join(this.#folder, instanceId, "root");
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const instanceId of this.#doors.keys()) this.shutDown(instanceId);
    const closed = Promise.withResolvers<void>();
    this.#network.claim.close(() => closed.resolve());
    await closed.promise;
  }

  #welcome(connection: Connection, machine: Machine, key: ParsedKey): void {
    let user = "";
    connection.on("authentication", (context) => {
      user = context.username;
      if (proves(context, key)) context.accept();
      else context.reject(["publickey"]);
    });
    connection.on("ready", () => {
      this.logins.push({ instanceId: machine.instanceId, user });
      machine.addUser(user);
    });
    connection.on("session", (accept) => {
      serveSession(accept(), machine, user, (command) => {
        this.commands.push({ instanceId: machine.instanceId, user, command });
      });
    });
    // A client that breaks off in the middle (Packer killed, instance terminated) is everyday life here.
    connection.on("error", () => connection.end());
  }
}

function parsePublicKey(publicKey: string): ParsedKey {
  const parsed = ssh2.utils.parseKey(publicKey);
  if (parsed instanceof Error) throw parsed;
  return parsed;
}

/** The first round of public key login only asks whether the key would do; the second one is signed. */
function proves(context: AuthContext, key: ParsedKey): context is PublicKeyAuthContext {
  if (context.method !== "publickey") return false;
  if (!context.key.data.equals(key.getPublicSSH())) return false;
  if (context.signature === undefined || context.blob === undefined) {
    // ssh2 tells us, and then the client, `ssh-rsa` where the client had asked for `rsa-sha2-256`. Go's client, and so
    // Packer's, takes that for the answer to another question and gives the key up.
    if (context.hashAlgo !== undefined) context.key.algo = `rsa-sha2-${context.hashAlgo.slice("sha".length)}`;
    return true;
  }
  return key.verify(context.blob, context.signature, context.hashAlgo);
}

function serveSession(
  session: Session,
  machine: Machine,
  user: string,
  note: (command: string) => void,
): void {
  const environment: Record<string, string> = {};
  let signal: ((name: string) => void) | undefined;
  // `accept` is absent where the client wants no answer.
  session.on("env", (accept, _reject, { key, val }) => {
    environment[key] = val;
    (accept as (() => void) | undefined)?.();
  });
  session.on("pty", (accept) => (accept as (() => void) | undefined)?.());
  session.on("signal", (accept, _reject, { name }) => {
    (accept as (() => void) | undefined)?.();
    signal?.(name);
  });
  session.on("exec", (accept, _reject, { command }) => {
    note(command);
    const channel = accept();
    channel.on("error", () => undefined);
    const copy = parseScp(command);
    if (copy !== undefined) void runScp(copy, machine.path(user, copy.path), channel);
    else signal = machine.run({ user, command, environment, channel });
  });
}
