import { useEffect, useState } from "preact/hooks";

export type View = "overview" | "groups" | "keys" | "key" | "watches" | "plan";
const VIEWS: readonly View[] = ["overview", "groups", "keys", "key", "watches", "plan"];

/** A place in the console: `#/keys/<base64url>`. */
export interface Route {
  readonly view: View;
  /** A prefix or key in base64url. */
  readonly key: string;
}

export function linkTo(view: View, key = ""): string {
  return `#/${view === "overview" ? "" : view}${key === "" ? "" : `/${key}`}`;
}

function parse(hash: string): Route {
  const [, view = "", key = ""] = hash.split("/");
  const known = VIEWS.find((each) => each === view) ?? "overview";
  return { view: known, key: /^[\w-]*$/.test(key) ? key : "" };
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash));
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return route;
}
