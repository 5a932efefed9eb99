// Tables for `message` of tableCodec.ts, and tags for hand-written code.
import { docstring, hexOf } from "./model.js";

/** `generated/tables.ts`: the messages that are not in the path of every request. */
export function tablesFile(messages) {
  const tables = ordered(messages.filter(({ form }) => form === "table"));
  const written = new Set();
  for (const { fields } of tables) {
    for (const { message } of fields) {
      if (messages.find(({ name }) => name === message)?.form === "written") written.add(message);
    }
  }
  return [
    'import { field } from "../field.js";',
    'import { LeaseStatus } from "../leaseStatus.js";',
    'import { type MessageOf, message } from "../tableCodec.js";',
    `import { ${[...written].sort().join(", ")} } from "./codecs.js";`,
    "",
    ...tables.map(tableOf),
  ].join("\n");
}

/** Orders messages so that each comes after those that it contains. */
function ordered(messages) {
  const result = new Set();
  const add = (message) => {
    for (const field of message.fields) {
      const inner = messages.find(({ name }) => name === field.message);
      if (inner !== undefined) add(inner);
    }
    result.add(message);
  };
  for (const message of messages) add(message);
  return [...result];
}

function tableOf({ name, comment, fields, oneofs }) {
  if (oneofs.length > 0) throw new Error(`${name}: tables have no oneofs`);
  const members = fields.map((field) => `${docstring(field.comment)}${field.property}: ${callOf(field)},`);
  return `${docstring(comment)}export const ${name} = message({
${members.join("\n")}
});
export type ${name} = MessageOf<typeof ${name}>;
`;
}

function callOf({ id, kind, message, repeated }) {
  const name = repeated ? `${kind}s` : kind;
  return `field.${name}(${id}${message === undefined ? "" : `, ${message}`})`;
}

/** `generated/tags.ts`: an object for each message with its fields' tags. */
export function tagsFile(messages) {
  return messages
    .map(({ name, fields }) => {
      const tags = fields.map(({ property, tag }) => `${property}: ${hexOf(tag)},`);
      return `export const ${name} = {\n${tags.join("\n")}\n} as const;\n`;
    })
    .join("\n");
}
