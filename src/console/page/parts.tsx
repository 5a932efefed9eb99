import { Component, type ComponentChildren, type VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** The heading of a view. It gets the focus, so that a screen reader says where one is. */
export function Title({ children, text }: { children?: ComponentChildren; text: string }): VNode {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${text} · etcd-braid`;
    heading.current?.focus();
  }, [text]);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children ?? text}
    </h1>
  );
}

export function Badge({
  kind,
  children,
}: {
  kind?: "good" | "warn" | "bad";
  children: ComponentChildren;
}): VNode {
  return <span class={`badge ${kind ?? ""}`}>{children}</span>;
}

/** A failure that the user should know of. */
export function Failure({ error, retry }: { error: string; retry?: () => void }): VNode {
  return (
    <div class="notice bad" role="alert">
      {error}{" "}
      {retry && (
        <button type="button" class="plain" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What is shown until there is data. */
export function Waiting({ error }: { error: string | undefined }): VNode {
  if (error !== undefined) return <Failure error={`${error}. It is tried again.`} />;
  return <p class="soft">Loading …</p>;
}

/** Says that the data shown is old. */
export function Stale({ error }: { error: string | undefined }): VNode | null {
  if (error === undefined) return null;
  return <Failure error={`These are the last known numbers: ${error}. It is tried again.`} />;
}

/** Shows an error of the page's own code instead of nothing. */
export class Guard extends Component<{ children: ComponentChildren }, { error: string | undefined }> {
  override state = { error: undefined as string | undefined };

  override componentDidCatch(error: Error): void {
    this.setState({ error: error.message });
  }

  override render(): ComponentChildren {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <Failure error={`This page has failed: ${error}.`} retry={() => this.setState({ error: undefined })} />
    );
  }
}

export function Table({
  caption,
  head,
  children,
}: {
  caption: string;
  /** A name that begins with `#` is of a column of numbers. */
  head: readonly string[];
  children: ComponentChildren;
}): VNode {
  return (
    <div class="scroll">
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col" class={name.startsWith("#") ? "number-cell" : ""}>
                {name.replace(/^#/, "")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export const Cell = ({ children }: { children: ComponentChildren }): VNode => (
  <td class="number-cell">{children}</td>
);
