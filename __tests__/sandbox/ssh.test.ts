import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import ssh2 from "ssh2";
import type { Client, ClientChannel, ConnectConfig } from "ssh2";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createSshHost, type SshHost } from "../../sandbox/aws/ssh.ts";
import { parseScp } from "../../sandbox/aws/ssh/scp.ts";

const key = ssh2.utils.generateKeyPairSync("rsa", { bits: 2048 });
const instanceId = "i-0123456789abcdef0";

let folder: string;
let host: SshHost;
let address: string;
const clients: Client[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kiln-ssh-"));
  host = await createSshHost({ folder });
  address = host.reserve(instanceId).publicIp;
  host.boot({ instanceId, publicIp: address, publicKey: key.public });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await host.close();
  rmSync(folder, { recursive: true, force: true });
});

async function connect(settings: Partial<ConnectConfig> = {}): Promise<Client> {
  const client = new ssh2.Client();
  clients.push(client);
  const ready = Promise.withResolvers<void>();
  client.once("ready", ready.resolve).on("error", ready.reject);
  client.connect({
    host: address,
    port: host.port,
    username: "ubuntu",
    privateKey: key.private,
    ...settings,
  });
  await ready.promise;
  return client;
}

interface Outcome {
  readonly code: number | null;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command under way; listened to from its first byte, for a short one's answer and exit come in one packet. */
interface Execution {
  readonly channel: ClientChannel;
  readonly so: { code: number | null; signal: string | undefined; stdout: string; stderr: string };
  readonly ended: Promise<Outcome>;
}

async function exec(client: Client, command: string, env: NodeJS.ProcessEnv = {}): Promise<Execution> {
  const opened = Promise.withResolvers<Execution>();
  client.exec(command, { env }, (error, channel) => {
    if (error === undefined) opened.resolve(follow(channel));
    else opened.reject(error);
  });
  return opened.promise;
}

function follow(channel: ClientChannel): Execution {
  const so: Execution["so"] = { code: null, signal: undefined, stdout: "", stderr: "" };
  channel.on("data", (data: Buffer) => (so.stdout += data.toString()));
  channel.stderr.on("data", (data: Buffer) => (so.stderr += data.toString()));
  channel.on("exit", (code: number | null, signal?: string) => {
    so.code = code;
    so.signal = signal ?? undefined;
  });
  return { channel, so, ended: once(channel, "close").then(() => so) };
}

async function run(client: Client, command: string, env?: NodeJS.ProcessEnv): Promise<Outcome> {
  return (await exec(client, command, env)).ended;
}

function root(path: string): string {
  return join(host.rootFolder(instanceId), path);
}

describe("logging in", () => {
  test("lets in any user who holds the instance's key, and notes the name", async () => {
    await connect();
    await connect({ username: "root" });
    expect(host.logins).toEqual([
      { instanceId, user: "ubuntu" },
      { instanceId, user: "root" },
    ]);
  });

  test("refuses another key, and passwords", async () => {
    const other = ssh2.utils.generateKeyPairSync("rsa", { bits: 2048 });
    await expect(connect({ privateKey: other.private })).rejects.toThrow(/authentication methods failed/);
    await expect(connect({ privateKey: undefined as unknown as string, password: "ubuntu" })).rejects.toThrow(
      /authentication methods failed/,
    );
    expect(host.logins).toEqual([]);
  });

  test("gives every instance an address of its own on loopback, also between two hosts", async () => {
    const otherFolder = join(folder, "other");
    const other = await createSshHost({ folder: otherFolder, port: host.port });
    try {
      const addresses = [address, host.reserve("i-1").publicIp, other.reserve("i-1").publicIp];
      expect(new Set(addresses).size).toBe(3);
      for (const each of addresses) expect(each).toMatch(/^127\.\d+\.\d+\.\d+$/);
      expect(addresses).not.toContain("127.0.0.1");
    } finally {
      await other.close();
    }
  });
});

describe("commands", () => {
  test("answer with output, error output and exit code", async () => {
    const client = await connect();
    expect(await run(client, "echo out; echo err >&2; exit 7")).toEqual({
      code: 7,
      signal: undefined,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(host.commands.map(({ command }) => command)).toEqual(["echo out; echo err >&2; exit 7"]);
  });

  test("read their input", async () => {
    const { channel, ended } = await exec(await connect(), "tr a-z A-Z");
    channel.end("from afar");
    expect((await ended).stdout).toBe("FROM AFAR");
  });

  test("run in the user's home folder, with DESTDIR and without the sandbox's own environment", async () => {
    const client = await connect();
    const { stdout } = await run(
      client,
      'pwd; echo "$HOME"; echo "$DESTDIR"; echo "[$VITEST]"; echo "$STAGE"',
      {
        STAGE: "bake",
      },
    );
    expect(stdout.split("\n")).toEqual(
      [root("home/ubuntu"), root("home/ubuntu"), root(""), "[]", "bake", ""].map((line) =>
        line.replace(/\/$/, ""),
      ),
    );
  });

  test("find /tmp and the home folder of their instance", async () => {
    const client = await connect();
    const script =
      "echo 'echo ran $0' > /tmp/script_1.sh && chmod 0755 /tmp/script_1.sh; A=1 /tmp/script_1.sh";
    const { stdout } = await run(client, `${script}; echo '#' > /home/ubuntu/note`);
    expect(stdout).toBe(`ran ${root("tmp/script_1.sh")}\n`);
    expect(existsSync(root("home/ubuntu/note"))).toBe(true);
  });

  test("use sudo, apt-get and systemctl without touching this machine", async () => {
    const client = await connect();
    const result = await run(
      client,
      [
        "set -e",
        "sudo -E DEBIAN_FRONTEND=noninteractive sh -c 'echo \"$DEBIAN_FRONTEND $DESTDIR\"'",
        "sudo apt-get update -q && sudo apt-get install -y 'nginx=1.24.*' curl",
        "sudo -u www-data systemctl enable web.service",
        "cloud-init status --wait",
        "dpkg-query -W",
      ].join("\n"),
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.trimEnd().split("\n")).toEqual([
      `noninteractive ${host.rootFolder(instanceId)}`,
      "sandbox: would run apt-get update -q",
      "sandbox: would run apt-get install -y nginx=1.24.* curl",
      "sandbox: would run systemctl enable web.service",
      "status: done",
      "base-files\t13ubuntu10",
      "openssh-server\t1:9.6p1-3ubuntu13",
      "curl\t1.0",
      "nginx\t1.24",
    ]);
  });

  test("get signals, and report the one they died of", async () => {
    const { channel, so, ended } = await exec(await connect(), "echo started; sleep 30");
    await expect.poll(() => so.stdout).toBe("started\n");
    channel.signal("TERM");
    expect(await ended).toMatchObject({ code: null, signal: "SIGTERM" });
  });

  test("die with their background jobs when the instance is shut down", async () => {
    const client = await connect();
    const { stdout } = await run(client, "sleep 30 >/dev/null 2>&1 & echo $!");
    const foreground = await exec(client, "echo started; sleep 30");
    await expect.poll(() => foreground.so.stdout).toBe("started\n");
    const closed = once(client, "close");
    expect(isRunning(Number(stdout))).toBe(true);
    host.shutDown(instanceId);
    await closed;
    await expect.poll(() => isRunning(Number(stdout))).toBe(false);
    await expect(connect()).rejects.toThrow(/ECONNREFUSED/);
  });
});

/** A killed orphan may stay a zombie where the first process of a container does not collect it. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("scp", () => {
  test.each([
    ["scp -vt /tmp", { role: "sink", recursive: false, path: "/tmp" }],
    ['scp -rvt "a folder"', { role: "sink", recursive: true, path: "a folder" }],
    ["scp -v -r -p -d -t '/opt/it'\\''s'", { keepTimes: true, intoFolder: true, path: "/opt/it's" }],
    ["scp -vf /var/log/x.log", { role: "source", path: "/var/log/x.log" }],
  ])("understands %s", (command, expected) => {
    expect(parseScp(command)).toMatchObject(expected);
  });

  test.each(["scpx -t /tmp", "echo scp -t", "scp a b", ""])("leaves %j to the shell", (command) => {
    expect(parseScp(command)).toBeUndefined();
  });

  /** Sends records and waits for a zero byte after each, as scp's own client does. */
  async function upload(command: string, records: readonly string[]): Promise<Outcome> {
    const { channel, so, ended } = await exec(await connect(), command);
    for (const [index, record] of records.entries()) {
      while (so.stdout.length <= index && !channel.destroyed) await sleep(1);
      channel.write(record);
    }
    channel.end();
    return ended;
  }

  test("takes a file into a folder", async () => {
    const result = await upload("scp -vt /tmp", ["C0755 5 script.sh\n", "hello\0"]);
    expect(result).toMatchObject({ code: 0, stdout: "\0\0\0" });
    expect(readFileSync(root("tmp/script.sh"), "utf8")).toBe("hello");
    expect(statSync(root("tmp/script.sh")).mode & 0o777).toBe(0o755);
  });

  test("takes a folder with its times and modes, under another name where the target is not there yet", async () => {
    const result = await upload("scp -rpt app", [
      "D0750 0 source\n",
      "T1700000000 0 1700000001 0\n",
      "C0600 2 a\n",
      "hi\0",
      "D0755 0 deep\n",
      "C0644 0 empty\n",
      "\0",
      "E\n",
      "E\n",
    ]);
    expect(result.code).toBe(0);
    expect(readFileSync(root("home/ubuntu/app/a"), "utf8")).toBe("hi");
    expect(statSync(root("home/ubuntu/app/a")).mtimeMs).toBe(1_700_000_000_000);
    expect(statSync(root("home/ubuntu/app")).mode & 0o777).toBe(0o750);
    expect(existsSync(root("home/ubuntu/app/deep/empty"))).toBe(true);
  });

  test.each([
    ["scp -vt /nowhere/at/all", "C0644 1 x\n", /no such file/i],
    ["scp -vdt /tmp/missing", "", /Not a directory/],
    ["scp -vt /tmp", "C0644 1 ../../../etc/x\n", /protocol error/],
  ])("%s refuses %j", async (command, record, message) => {
    const result = await upload(command, [record]);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(message);
  });

  test("keeps paths inside the instance", async () => {
    expect((await upload("scp -t ../../../../../../opt", ["C0644 1 x\n", "x\0"])).code).toBe(0);
    expect(existsSync(root("opt/x"))).toBe(true);
  });

  test("gives a file back", async () => {
    const client = await connect();
    await run(client, "printf 'nginx 1.24' > /tmp/inventory");
    const { channel, ended } = await exec(client, "scp -vf /tmp/inventory");
    for (let i = 0; i < 3; i++) channel.write("\0");
    expect(await ended).toMatchObject({ code: 0, stdout: "C0644 10 inventory\nnginx 1.24\0" });
  });
});
