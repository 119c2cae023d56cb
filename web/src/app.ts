// The frame around the views: navigation, the state of the connection, themes, keys, and the way in.
import { get, setToken, takeToken } from "./api";
import { empty, fill, forgetColours, h, link, short } from "./dom";
import { DropsView } from "./drops_view";
import { FlowsView } from "./flows_view";
import { live } from "./live";
import { MapView } from "./map_view";
import type { Status } from "./model";
import { PolicyView } from "./policy_view";
import { onNavigate, type View } from "./router";
import { WorkloadsView, WorkloadView } from "./workload_view";

const kTheme = "beeline.theme";
const kTabs = [["/", "Map"], ["/flows", "Flows"], ["/workloads", "Workloads"], ["/policy", "Policy"], ["/drops", "Drops"]] as const;

const app = document.getElementById("app")!;
const main = h("main", { id: "main", tabindex: -1 });
const state = h("span", { class: "state", role: "status" });
const losses = h("span", { class: "losses" });
const badge = h("span", { class: "count", hidden: true });
const nodeName = h("span", { class: "node" });
const tabs = kTabs.map(([href, name]) => h("a", { href }, name, href === "/drops" ? badge : null));
const themeButton = h("button", { type: "button", title: "Dark or light", "aria-label": "Dark or light", onclick: () => switchTheme() }, "◐");

let view: View | null = null;
let shownPath = "";

function makeView(path: string): View | null {
  const parts = path.split("/").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  if (parts.length === 0 || path === "/map") return new MapView();
  if (parts[0] === "flows" && parts.length === 1) return new FlowsView();
  if (parts[0] === "policy" && parts.length === 1) return new PolicyView();
  if (parts[0] === "drops" && parts.length === 1) return new DropsView();
  if (parts[0] === "workloads" && parts.length === 1) return new WorkloadsView();
  if (parts[0] === "workloads" && parts[1] && parts[2]) return new WorkloadView(parts[1], parts[2]);
  return null;
}

function navigate(): void {
  if (live.state === "locked") return;
  const { pathname } = location;
  if (view && pathname === shownPath) { view.address?.(); return; }
  view?.end();
  shownPath = pathname;
  view = makeView(pathname);
  tabs.forEach((tab, i) => {
    const href = kTabs[i]![0];
    if (href === "/" ? pathname === "/" : pathname.startsWith(href)) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  });
  document.title = view ? `${view.title} · Beeline` : "Beeline";
  fill(main, view ? view.element : empty("There is no such page", link("/", "Go to the map")));
  view?.start();
}

function showState(): void {
  const texts = { connecting: "Connecting", live: "Live", paused: "Paused", lost: "Not connected", locked: "Locked" };
  state.textContent = texts[live.state];
  state.dataset["state"] = live.state;
  state.title = live.problem;
  nodeName.textContent = live.node;
  const refused = live.total.dropped ?? 0;
  badge.hidden = refused === 0;
  badge.textContent = short(refused);
  badge.title = "refused in the last five minutes";
  losses.textContent = live.lost + live.crowded > 0 ? `${short(live.lost + live.crowded)} flows not shown` : "";
  losses.title = live.crowded ? "The map is full; some flows have no room on it." : "Flows were lost before the map saw them: see beeline status.";
  if (live.state === "locked") lock();
}

function lock(): void {
  if (main.querySelector(".login")) return;
  view?.end();
  view = null;
  shownPath = "";
  const input = h("input", { type: "password", "aria-label": "Token", placeholder: "Token", autocomplete: "off", size: 40, required: true });
  fill(main, h("form", { class: "login", onsubmit: (event: Event) => {
    event.preventDefault();
    const text = input.value.trim();
    setToken(/#token=([\w.~-]+)/.exec(text)?.[1] ?? text);
    fill(main);
    live.restart();
  } }, h("h1", null, "This page is locked"),
  h("p", null, "Open the link that ", h("code", null, "beeline status"), " shows, or paste it or its token here. It stays in this tab only."),
  input, h("button", { type: "submit" }, "Open")));
  input.focus();
}

function switchTheme(): void {
  const dark = document.documentElement.dataset["theme"] ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = dark === "dark" ? "light" : "dark";
  localStorage.setItem(kTheme, next);
  setTheme(next);
}

function setTheme(theme: string | null): void {
  if (theme === "dark" || theme === "light") document.documentElement.dataset["theme"] = theme;
  forgetColours();
  view?.theme?.();
}

function keys(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.key === "Escape" && /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) { target.blur(); return; }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === "/") { view?.focusFilter?.(); event.preventDefault(); }
  else if (event.key === "t") switchTheme();
  else if (event.key >= "1" && event.key <= "5") tabs[Number(event.key) - 1]?.click();
}

takeToken();
setTheme(localStorage.getItem(kTheme));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(null));
fill(app, h("a", { href: "#main", class: "skip" }, "Skip to content"),
  h("header", { class: "top" }, h("a", { href: "/", class: "brand", "aria-label": "Beeline, the map" },
    h("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" }, h("rect", { width: 32, height: 32, rx: 8 }), h("path", { d: "M16 5.5l9 5.2v10.6l-9 5.2-9-5.2V10.7z" }), h("circle", { cx: 16, cy: 16, r: 3.6 })), "Beeline"),
  nodeName, h("nav", { "aria-label": "Views" }, ...tabs), h("span", { class: "grow" }), losses, state, themeButton), main);
document.addEventListener("keydown", keys);
addEventListener("hashchange", () => { takeToken(); live.restart(); });
let wasLocked = false;
live.listen(() => {
  showState();
  // The way in is open again.
  if (wasLocked && live.state === "live" && !view) navigate();
  wasLocked = wasLocked || live.state === "locked";
});
onNavigate(navigate);
// The first call tells whether the token is good before any view asks.
get<Status>("/v1/status").then(() => undefined, () => undefined).finally(() => { live.start(); if (live.state !== "locked") navigate(); });
