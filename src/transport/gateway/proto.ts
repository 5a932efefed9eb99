/*
 * What the gateway needs of .proto files, read without a library, which would take longer than everything else that the first
 * call needs. Of the language only what the files in `proto/` use: proto3 with messages, enums, oneofs and services.
 */

export interface ProtoField {
  readonly name: string;
  readonly id: number;
  /** As it is written; `resolve` finds what it means. */
  readonly type: string;
  readonly repeated: boolean;
  readonly oneof: string | undefined;
}

export interface ProtoMethod {
  /** Full name of its service, which is also where its types are looked for. */
  readonly service: string;
  readonly name: string;
  readonly request: string;
  readonly response: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** Comments, which are left out, strings, names and numbers, and signs. */
const TOKENS = /\/\/.*|"[^"]*"|[\w.]+|\S/g;

/** The definitions of all files that were read, by full name. */
export class ProtoFiles {
  readonly messages = new Map<string, ProtoField[]>();
  /** Names to numbers. */
  readonly enums = new Map<string, Map<string, number>>();
  readonly methods: ProtoMethod[] = [];
  private tokens: string[] = [];
  private at = 0;

  /** Adds a file's definitions. Throws for what is not understood. */
  read(source: string): void {
    this.tokens = (source.match(TOKENS) ?? []).filter((token) => !token.startsWith("//"));
    this.at = 0;
    let space = "";
    while (this.at < this.tokens.length) {
      const word = this.next();
      if (word === "syntax") this.expect("=", '"proto3"', ";");
      else if (word === "package") space = this.nameAnd(";");
      else if (word === "import") this.nameAnd(";");
      else if (word === "service") this.service(`${space}.${this.nameAnd("{")}`);
      else this.type(word, space);
    }
  }

  /** Full name of the message or enum that a name means within a package, message or service; undefined if none. */
  resolve(name: string, scope: string): string | undefined {
    for (let outer = scope; ; outer = outer.slice(0, Math.max(0, outer.lastIndexOf(".")))) {
      const full = outer === "" ? name : `${outer}.${name}`;
      if (this.messages.has(full) || this.enums.has(full)) return full;
      if (outer === "") return undefined;
    }
  }

  private type(word: string, scope: string): void {
    if (word !== "message" && word !== "enum") throw this.unexpected(word);
    const name = `${scope}.${this.nameAnd("{")}`;
    if (word === "message") this.message(name);
    else this.enum(name);
  }

  private message(name: string): void {
    const fields: ProtoField[] = [];
    this.messages.set(name, fields);
    for (let word = this.next(); word !== "}"; word = this.next()) {
      if (word === "message" || word === "enum") this.type(word, name);
      else if (word === "oneof") {
        const oneof = this.nameAnd("{");
        for (let type = this.next(); type !== "}"; type = this.next()) {
          fields.push(this.field(type, false, oneof));
        }
      } else if (word === "repeated") fields.push(this.field(this.next(), true));
      else fields.push(this.field(word, false));
    }
  }

  private field(type: string, repeated: boolean, oneof?: string): ProtoField {
    return { type, repeated, oneof, name: this.nameAnd("="), id: this.number() };
  }

  private enum(name: string): void {
    const values = new Map<string, number>();
    this.enums.set(name, values);
    for (let value = this.next(); value !== "}"; value = this.next()) {
      this.expect("=");
      values.set(value, this.number());
    }
  }

  private service(service: string): void {
    for (let word = this.next(); word !== "}"; word = this.next()) {
      if (word !== "rpc") throw this.unexpected(word);
      const name = this.nameAnd("(");
      const [request, requestStream] = this.messageOfCall();
      this.expect("returns", "(");
      const [response, responseStream] = this.messageOfCall();
      this.expect(";");
      this.methods.push({ service, name, request, requestStream, response, responseStream });
    }
  }

  /** `stream Type)` or `Type)`. */
  private messageOfCall(): [type: string, stream: boolean] {
    const word = this.next();
    const stream = word === "stream";
    const type = stream ? this.next() : word;
    this.expect(")");
    return [type, stream];
  }

  private number(): number {
    const token = this.next();
    if (!/^\d+$/.test(token)) throw this.unexpected(token);
    this.expect(";");
    return Number(token);
  }

  /** A name, or what is quoted, and the sign after it. */
  private nameAnd(sign: string): string {
    const name = this.next();
    if (!/^["\w]/.test(name)) throw this.unexpected(name);
    this.expect(sign);
    return name;
  }

  private expect(...tokens: readonly string[]): void {
    for (const token of tokens) {
      const found = this.next();
      if (found !== token) throw this.unexpected(found);
    }
  }

  private next(): string {
    const token = this.tokens[this.at++];
    if (token === undefined) throw this.unexpected("the end");
    return token;
  }

  private unexpected(token: string): Error {
    return new Error(`.proto file: ${token} at token ${this.at} is not understood`);
  }
}
