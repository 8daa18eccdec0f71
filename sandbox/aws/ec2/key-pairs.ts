import { createHash, createPublicKey, generateKeyPairSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { Place } from "../fleet.ts";
import { AwsError } from "../query.ts";
import type { Call, Operations } from "../query.ts";
import { filtered } from "./filters.ts";
import { add, find, newResource, owned } from "./state.ts";
import type { Ec2State, Resource } from "./state.ts";
import { specifiedTags, tagSet } from "./tags.ts";

export interface KeyPair extends Resource {
  readonly kind: "key-pair";
  readonly name: string;
  readonly keyType: "rsa" | "ed25519";
  readonly fingerprint: string;
  /** OpenSSH form, as authorized_keys has it. */
  readonly publicKey: string;
}

export function keyPairNamed(state: Ec2State, place: Place, name: string): KeyPair {
  const found = owned(state, place, "key-pair").find((pair) => pair.name === name);
  if (found === undefined) {
    throw new AwsError("InvalidKeyPair.NotFound", `The key pair '${name}' does not exist`);
  }
  return found;
}

const fields = {
  fingerprint: (pair: KeyPair) => pair.fingerprint,
  "key-name": (pair: KeyPair) => pair.name,
  "key-pair-id": (pair: KeyPair) => pair.id,
};

export function keyPairOperations(state: Ec2State): Operations {
  return {
    CreateKeyPair(call) {
      const keyType = call.query.string("KeyType") ?? "rsa";
      if (keyType !== "rsa" && keyType !== "ed25519") {
        throw new AwsError("InvalidParameterValue", `Value (${keyType}) for parameter KeyType is invalid.`);
      }
      const name = newName(state, call);
      const { material, ...made } = keyType === "rsa" ? makeRsa(name) : makeEd25519(name);
      const pair = addPair(state, call, { name, keyType, ...made });
      return { ...renderedIdentity(pair), keyMaterial: material };
    },
    ImportKeyPair(call) {
      const name = newName(state, call);
      const pair = addPair(state, call, { name, ...imported(call.query.required("PublicKeyMaterial")) });
      return renderedIdentity(pair);
    },
    DescribeKeyPairs(call) {
      const withKey = call.query.boolean("IncludePublicKey") === true;
      const pairs = filtered(call.query, fields, requested(state, call));
      const item = pairs.map((pair) => renderedInFull(pair, withKey));
      return { keySet: { item } };
    },
    DeleteKeyPair(call) {
      const id = call.query.string("KeyPairId");
      const name = id === undefined ? call.query.required("KeyName") : undefined;
      const pair = owned(state, call, "key-pair").find((pair) => pair.id === id || pair.name === name);
      // EC2 API reference, DeleteKeyPair: deleting a key pair that is not there succeeds, without an id.
      if (pair === undefined) return { return: true };
      state.resources.delete(pair.id);
      return { return: true, keyPairId: pair.id };
    },
  };
}

function newName(state: Ec2State, call: Call): string {
  const name = call.query.required("KeyName");
  if (owned(state, call, "key-pair").some((pair) => pair.name === name)) {
    throw new AwsError("InvalidKeyPair.Duplicate", `The keypair '${name}' already exists.`);
  }
  return name;
}

function addPair(
  state: Ec2State,
  call: Call,
  content: Pick<KeyPair, "name" | "keyType" | "fingerprint" | "publicKey">,
): KeyPair {
  const tags = specifiedTags(call.query, "key-pair");
  return add(state, { ...newResource(state, call, "key-pair", tags), kind: "key-pair", ...content });
}

function requested(state: Ec2State, call: Call): KeyPair[] {
  const names = call.query.strings("KeyName").map((name) => keyPairNamed(state, call, name));
  const pairs = call.query.strings("KeyPairId").map((id) => find(state, call, "key-pair", id));
  return names.length + pairs.length > 0 ? [...names, ...pairs] : owned(state, call, "key-pair");
}

function renderedIdentity(pair: KeyPair): Record<string, unknown> {
  return {
    keyName: pair.name,
    keyPairId: pair.id,
    keyFingerprint: pair.fingerprint,
    tagSet: tagSet(pair.tags),
  };
}

function renderedInFull(pair: KeyPair, withKey: boolean): Record<string, unknown> {
  return {
    ...renderedIdentity(pair),
    keyType: pair.keyType,
    createTime: new Date(pair.createdAt),
    publicKey: withKey ? pair.publicKey : undefined,
  };
}

interface MadeKey {
  readonly material: string;
  readonly publicKey: string;
  readonly fingerprint: string;
}

/** EC2 user guide, Verify the fingerprint: SHA-1 of the PKCS#8 private key for RSA keys that EC2 made. */
function makeRsa(name: string): MadeKey {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const { n = "", e = "" } = publicKey.export({ format: "jwk" });
  const blob = Buffer.concat([field("ssh-rsa"), field(unsigned(e)), field(unsigned(n))]);
  return {
    material: privateKey.export({ format: "pem", type: "pkcs1" }).toString(),
    publicKey: `ssh-rsa ${blob.toString("base64")} ${name}`,
    fingerprint: colons(hash("sha1", privateKey.export({ format: "der", type: "pkcs8" }))),
  };
}

/** EC2 user guide, Verify the fingerprint: OpenSSH's own SHA-256 for ED25519 keys. */
function makeEd25519(name: string): MadeKey {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const blob = Buffer.concat([field("ssh-ed25519"), field(jwkBytes(publicKey, "x"))]);
  return {
    material: openSshPem(blob, privateKey, name),
    publicKey: `ssh-ed25519 ${blob.toString("base64")} ${name}`,
    fingerprint: hash("sha256", blob).toString("base64"),
  };
}

/** Node writes no OpenSSH private keys: OpenSSH's PROTOCOL.key, unencrypted. */
function openSshPem(publicBlob: Buffer, privateKey: KeyObject, comment: string): string {
  const pair = Buffer.concat([jwkBytes(privateKey, "d"), jwkBytes(privateKey, "x")]);
  const check = hash("sha256", publicBlob).subarray(0, 4);
  const content = Buffer.concat([check, check, publicBlob, field(pair), field(comment)]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, (8 - (content.length % 8)) % 8));
  const one = Buffer.from([0, 0, 0, 1]);
  const body = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    field("none"),
    field("none"),
    field(""),
    one,
    field(publicBlob),
    field(Buffer.concat([content, padding])),
  ]);
  const lines = body.toString("base64").match(/.{1,70}/g) ?? [];
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join(
    "\n",
  );
}

/** EC2 user guide, Verify the fingerprint: MD5 of the public key in DER for RSA keys that were imported. */
function imported(material: string): Pick<KeyPair, "keyType" | "publicKey" | "fingerprint"> {
  const publicKey = Buffer.from(material, "base64").toString().trim();
  const [type, encoded = ""] = publicKey.split(/\s+/);
  const blob = Buffer.from(encoded, "base64");
  if (type === "ssh-ed25519") {
    return { keyType: "ed25519", publicKey, fingerprint: hash("sha256", blob).toString("base64") };
  }
  const [name, e, n] = readFields(blob);
  if (type !== "ssh-rsa" || String(name) !== "ssh-rsa" || e === undefined || n === undefined) {
    throw new AwsError("InvalidKey.Format", "Key is not in valid OpenSSH public key format");
  }
  const jwk = { kty: "RSA", e: e.toString("base64url"), n: n.toString("base64url") };
  const der = createPublicKey({ key: jwk, format: "jwk" }).export({ format: "der", type: "spki" });
  return { keyType: "rsa", publicKey, fingerprint: colons(hash("md5", der)) };
}

function jwkBytes(key: KeyObject, name: "d" | "x"): Buffer {
  return Buffer.from(key.export({ format: "jwk" })[name] ?? "", "base64url");
}

/** SSH's mpint: a leading zero byte keeps the number positive. */
function unsigned(base64url: string): Buffer {
  const bytes = Buffer.from(base64url, "base64url");
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes;
}

/** SSH's string: four bytes of length, then the content. */
function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function readFields(blob: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let offset = 0; offset + 4 <= blob.length;) {
    const end = offset + 4 + blob.readUInt32BE(offset);
    found.push(blob.subarray(offset + 4, end));
    offset = end;
  }
  return found;
}

function hash(algorithm: string, content: Buffer): Buffer {
  return createHash(algorithm).update(content).digest();
}

function colons(digest: Buffer): string {
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
