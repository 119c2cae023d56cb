// Which view the address asks for. Everything that is chosen on the page is in the address.

export interface View {
  readonly title: string;
  readonly element: HTMLElement;
  start(): void;
  end(): void;
  address?(): void;     // the query string changed
  theme?(): void;       // colours changed
  focusFilter?(): void; // the key "/"
}

let follow: (() => void) | null = null;
export function onNavigate(handler: () => void): void {
  follow = handler;
  addEventListener("popstate", handler);
  document.addEventListener("click", (event) => {
    const anchor = (event.target as Element).closest?.("a[href^='/']");
    if (!anchor || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(anchor.getAttribute("href") ?? "/");
  });
}

export const params = (): URLSearchParams => new URLSearchParams(location.search);

export function go(href: string, replace = false): void {
  if (href !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", href);
  follow?.();
}

// Sets or removes (null) parameters of the address.
export function setParams(changes: Record<string, string | string[] | null>, replace = false): void {
  const query = params();
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of value === null ? [] : Array.isArray(value) ? value : [value]) if (one) query.append(name, one);
  }
  const text = query.toString().replaceAll("%2F", "/");
  go(location.pathname + (text ? `?${text}` : ""), replace);
}
