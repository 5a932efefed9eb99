/** Environment of proxies whose movers make small steps; see smallSteps.ts. */
export const SMALL_STEPS = {
  NODE_OPTIONS: [
    ...(import.meta.url.endsWith(".ts") ? [import.meta.resolve("tsx")] : []),
    new URL(`./smallSteps${import.meta.url.slice(-3)}`, import.meta.url).href,
  ]
    .map((url) => `--import=${url}`)
    .join(" "),
};
