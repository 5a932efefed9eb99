import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

/** The content of a client's token, which only proxies can read. */
export interface SealedLogin {
  readonly user: string;
  readonly password: string;
  /** When it was issued, in milliseconds since the epoch. */
  readonly issuedAt: number;
}

/** The prefix of tokens, with the version of their format. */
const PREFIX = "braid1-";
/** Longer tokens are invalid, because they would not fit into a header. In characters. */
const MAX_TOKEN_LENGTH = 6_000;
/** Longest user and password together, in bytes. */
export const MAX_CREDENTIALS_BYTES = 4_000;

const CIPHER = "aes-256-gcm";
const IV_BYTES = 12;
const TAG_BYTES = 16;
const TIME_BYTES = 6;

/**
 * Makes and reads clients' tokens: user and password, encrypted and authenticated with AES-256-GCM under a key of the
 * proxies. So a token needs no state, and only proxies with the key can read it.
 */
export class Seal {
  private readonly key: Buffer;
  private readonly store: Buffer;

  /** `secret` is shared by all proxies of a store. `store` names the store, and tokens are valid for no other. */
  constructor(secret: string | Uint8Array, store: string) {
    this.key = Buffer.from(hkdfSync("sha256", secret, "etcd-braid", "tokens of clients", 32));
    this.store = Buffer.from(store);
  }

  /** Makes a token of letters, digits, `-` and `_`. Each one is different. */
  seal({ user, password, issuedAt }: SealedLogin): string {
    const name = Buffer.from(user);
    const head = Buffer.alloc(TIME_BYTES + 2);
    head.writeUIntBE(issuedAt, 0, TIME_BYTES);
    head.writeUInt16BE(name.length, TIME_BYTES);
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv(CIPHER, this.key, iv).setAAD(this.store);
    const body = [head, name, Buffer.from(password)].map((part) => cipher.update(part));
    return PREFIX + Buffer.concat([iv, ...body, cipher.final(), cipher.getAuthTag()]).toString("base64url");
  }

  /** The content of a token, or undefined for one that was not sealed with this key. Never throws. */
  open(token: string): SealedLogin | undefined {
    if (!token.startsWith(PREFIX) || token.length > MAX_TOKEN_LENGTH) return undefined;
    const text = token.slice(PREFIX.length);
    const bytes = Buffer.from(text, "base64url");
    // Node's decoder ignores invalid characters, so many texts would be the same token.
    if (bytes.toString("base64url") !== text) return undefined;
    if (bytes.length < IV_BYTES + TIME_BYTES + 2 + TAG_BYTES) return undefined;
    const content = this.decrypt(bytes);
    if (content === undefined) return undefined;
    const nameEnd = TIME_BYTES + 2 + content.readUInt16BE(TIME_BYTES);
    return {
      issuedAt: content.readUIntBE(0, TIME_BYTES),
      user: content.toString("utf8", TIME_BYTES + 2, nameEnd),
      password: content.toString("utf8", nameEnd),
    };
  }

  private decrypt(bytes: Buffer): Buffer | undefined {
    const tagAt = bytes.length - TAG_BYTES;
    const decipher = createDecipheriv(CIPHER, this.key, bytes.subarray(0, IV_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(this.store).setAuthTag(bytes.subarray(tagAt));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, tagAt)), decipher.final()]);
    } catch {
      return undefined;
    }
  }
}
