import type { VNode } from "preact";
import { useState } from "preact/hooks";
import type { SessionReport } from "../report.js";
import { ApiError, post } from "./api.js";
import { Failure, Title } from "./parts.js";

export function LoginView({ session, done }: { session: SessionReport; done: () => void }): VNode {
  const [error, setError] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  const isUser = session.mode === "user";
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setError(undefined);
    try {
      await post("login", { user: fields.get("user") ?? "", password: fields.get("password") ?? "" });
      done();
    } catch (reason) {
      setError(reason instanceof ApiError ? reason.message : String(reason));
      setBusy(false);
    }
  };
  return (
    <main class="login" id="main">
      <section class="panel">
        <Title text="Log in" />
        <p class="soft">{isUser ? "As a user of the store." : "With the password of the console."}</p>
        <form onSubmit={submit}>
          {isUser && (
            <label>
              User
              <input name="user" autocomplete="username" required />
            </label>
          )}
          <label>
            Password
            <input name="password" type="password" autocomplete="current-password" required />
          </label>
          {error !== undefined && <Failure error={error} />}
          <button type="submit" class="main" disabled={isBusy}>
            {isBusy ? "Checking …" : "Log in"}
          </button>
        </form>
      </section>
    </main>
  );
}
