const TOKENS = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "null",
  "true",
  "-1",
  "1e999",
  "1E-3",
  "9223372036854775808",
  "18446744073709551616",
  "0.5",
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"\\',
  "\u0000",
  "é",
  "\ufffd",
  '"AA=="',
  '"=="',
  '"_-"',
  "{}",
  "[[]]",
  '"key"',
  '"request_txn":{"success":[',
  '"lease":1,',
  '"ID":"7",',
  '"range_end":"AA==",',
  '"__proto__":{},',
  '"constructor":1,',
  " ",
];

/** Applies one to three random mutations, as careless or hostile clients might. */
export function mutate(text: string, next: (below: number) => number): Buffer {
  let bytes = Buffer.from(text);
  for (let count = 1 + next(3); count > 0; count--) {
    const at = next(bytes.length + 1);
    const to = Math.min(bytes.length, at + 1 + next(12));
    const [before, part, rest] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
    switch (next(6)) {
      case 0:
        bytes = Buffer.concat([before, Buffer.from(TOKENS[next(TOKENS.length)]), part, rest]);
        break;
      case 1:
        bytes = Buffer.concat([before, Buffer.from(TOKENS[next(TOKENS.length)]), rest]);
        break;
      case 2:
        bytes = Buffer.concat([before, rest]);
        break;
      case 3:
        bytes = Buffer.concat([before, part, part, rest]);
        break;
      case 4:
        bytes = Buffer.concat([before, Buffer.from(part.map(() => next(256))), rest]);
        break;
      default: {
        // Replace a value by one of another kind.
        const value = bytes
          .toString("latin1")
          .replace(/:\s*("[^"]*"|\d+|true|false)/, `:${TOKENS[next(TOKENS.length)]}`);
        bytes = Buffer.from(value, "latin1");
      }
    }
  }
  return bytes;
}
