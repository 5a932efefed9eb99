import { render, type VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { SessionReport } from "../report.js";
import { onSignedOut, post, read } from "./api.js";
import { GroupsView } from "./groups.js";
import { KeyView } from "./key.js";
import { KeysView } from "./keys.js";
import { LoginView } from "./login.js";
import { OverviewView } from "./overview.js";
import { Failure, Guard } from "./parts.js";
import { PlanView } from "./plan.js";
import { linkTo, type Route, useRoute, type View } from "./route.js";
import { WatchesView } from "./watches.js";

/** Pause between two attempts to reach the proxy, in milliseconds. */
const RETRY_MS = 2_000;

function App(): VNode {
  const [session, setSession] = useState<SessionReport>();
  const [error, setError] = useState<string>();
  const [round, setRound] = useState(0);
  const again = () => setRound((before) => before + 1);
  useEffect(() => {
    let timer: number | undefined;
    let isOver = false;
    read<SessionReport>("session").then(
      (report) => {
        if (isOver) return;
        setSession(report);
        setError(undefined);
      },
      (reason: Error) => {
        if (isOver) return;
        setError(reason.message);
        timer = window.setTimeout(again, RETRY_MS);
      },
    );
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [round]);
  useEffect(() => onSignedOut(again), []);
  if (session === undefined) {
    return (
      <main class="login">
        {error === undefined ? <p>Loading …</p> : <Failure error={`${error}. It is tried again.`} />}
      </main>
    );
  }
  if (!session.isSignedIn) return <LoginView session={session} done={again} />;
  return (
    <Frame
      session={session}
      signOut={() =>
        void post("logout")
          .catch(() => {})
          .finally(again)
      }
    />
  );
}

const VIEWS: readonly { readonly view: View; readonly name: string; readonly forOperators: boolean }[] = [
  { view: "overview", name: "Overview", forOperators: false },
  { view: "groups", name: "Groups", forOperators: false },
  { view: "keys", name: "Keys", forOperators: false },
  { view: "watches", name: "Watches", forOperators: true },
  { view: "plan", name: "Plan", forOperators: true },
];

function Frame({ session, signOut }: { session: SessionReport; signOut: () => void }): VNode {
  const route = useRoute();
  const current = route.view === "key" ? "keys" : route.view;
  return (
    <>
      <button type="button" class="skip" onClick={() => document.querySelector<HTMLElement>("h1")?.focus()}>
        Skip to the content
      </button>
      <header class="bar">
        <span class="brand">
          etcd-braid<small>{session.version}</small>
        </span>
        <nav aria-label="Views">
          {VIEWS.filter(({ forOperators }) => session.isOperator || !forOperators).map(({ view, name }) => (
            <a key={view} href={linkTo(view)} {...(view === current && { "aria-current": "page" as const })}>
              {name}
            </a>
          ))}
        </nav>
        {session.mode !== "open" && (
          <span class="who">
            {session.user}{" "}
            <button type="button" class="plain" onClick={signOut}>
              Log out
            </button>
          </span>
        )}
      </header>
      <main id="main">
        <Guard key={`${route.view} ${route.key}`}>
          <Content route={route} />
        </Guard>
      </main>
    </>
  );
}

function Content({ route: { view, key } }: { route: Route }): VNode {
  switch (view) {
    case "groups":
      return <GroupsView />;
    case "keys":
      return <KeysView prefix={key} />;
    case "key":
      return key === "" ? <KeysView prefix="" /> : <KeyView keyName={key} />;
    case "watches":
      return <WatchesView />;
    case "plan":
      return <PlanView />;
    default:
      return <OverviewView />;
  }
}

render(<App />, document.getElementById("page")!);
