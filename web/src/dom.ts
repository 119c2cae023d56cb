// Elements without a framework. Text is always set as text, never as markup.

export type Child = Node | string | number | null | undefined | false;
type Handler = (event: never) => void;
export type Props = Record<string, string | number | boolean | null | undefined | Handler>;

const kSvg = "http://www.w3.org/2000/svg";
const kSvgTags = new Set(["svg", "path", "circle", "line", "rect", "g", "polyline"]);

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props?: Props | null, ...children: Child[]): HTMLElementTagNameMap[K];
export function h(tag: string, props?: Props | null, ...children: Child[]): HTMLElement;
export function h(tag: string, props?: Props | null, ...children: Child[]): HTMLElement {
  const element = kSvgTags.has(tag) ? document.createElementNS(kSvg, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element as HTMLElement;
}

function append(element: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export function fill(element: Element, ...children: Child[]): void {
  element.textContent = "";
  append(element, children);
}

export const link = (href: string, text: Child, className = ""): HTMLAnchorElement =>
  h("a", { href, class: className || null }, text);

export function empty(title: string, ...hint: Child[]): HTMLElement {
  return h("div", { class: "empty" }, h("strong", null, title), h("p", null, ...hint));
}

export function failure(error: unknown): HTMLElement {
  const text = error instanceof Error ? error.message : String(error);
  return h("div", { class: "empty bad", role: "alert" }, h("strong", null, "That did not work"), h("p", null, text));
}

const kUnits = ["", "k", "M", "G", "T"];
export function short(value: number, base = 1000): string {
  let unit = 0;
  while (value >= base && unit < kUnits.length - 1) { value /= base; ++unit; }
  const digits = value === 0 || value >= 100 || (unit === 0 && Number.isInteger(value)) ? 0 : value >= 10 ? 1 : value >= 0.095 ? 1 : 2;
  return value.toFixed(digits) + (kUnits[unit] ?? "");
}
export const rate = (value = 0): string => `${short(value)}/s`;
export const bytes = (value = 0): string => `${short(value, 1024)}B`;
export const ms = (value = 0): string =>
  value === 0 ? "–" : value < 1 ? `${(value * 1000).toFixed(0)} µs` : value < 1000 ? `${short(value)} ms` : `${short(value / 1000)} s`;

export function ago(second: number | undefined, now: number): string {
  if (!second) return "never";
  const past = Math.max(0, Math.round(now - second));
  return past < 2 ? "now" : past < 120 ? `${past} s ago` : `${Math.round(past / 60)} min ago`;
}

export const clock = (time: string): string => {
  const date = new Date(time);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
};

// The colours of the style sheet, for canvases.
let colours: Record<string, string> = {};
export function colour(name: string): string {
  return colours[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
export function forgetColours(): void { colours = {}; }
