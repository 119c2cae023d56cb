// The live service map.
import { Chart, drawSpark, spark } from "./chart";
import { get } from "./api";
import { ago, bytes, colour, empty, fill, h, link, ms, rate, short } from "./dom";
import { live } from "./live";
import { edgeKey, idTitle, nodeTitle, type MapEdge, type MapNode, type Rates, type Series } from "./model";
import { kEdgeFloats, Renderer, type Camera, type DrawGroup, type DrawNode } from "./renderer";
import { go, params, setParams, type View } from "./router";

const kPlaces = "beeline.places";
const kTints = ["tint1", "tint2", "tint3", "tint4", "tint5", "tint6"];
const kDeniedFor = 60; // seconds that a refusal stays bright

// Places outlive the view, and a reload: a map that jumps cannot be learnt.
const places = new Map<string, [number, number]>();
try {
  for (const [id, x, y] of JSON.parse(localStorage.getItem(kPlaces) ?? "[]") as [string, number, number][]) places.set(id, [x, y]);
} catch { localStorage.removeItem(kPlaces); }
let camera: Camera | null = null;

export const groupOf = (node: MapNode): string =>
  node.kind === "host" ? "this machine" : node.kind === "world" ? "outside" : node.namespace ?? "";

// Every namespace keeps the colour that it had when it was first seen.
const tints = new Map<string, number>();
function tintOf(group: string): string {
  if (group === "this machine" || group === "outside") return colour("muted");
  const known = tints.get(group) ?? tints.size;
  tints.set(group, known);
  return colour(kTints[known % kTints.length]!);
}

function rgb(text: string): [number, number, number] {
  const value = parseInt(text.slice(1), 16);
  return [(value >> 16 & 255) / 255, (value >> 8 & 255) / 255, (value & 255) / 255];
}

const sum = (a: Rates | undefined, b: Rates | undefined, key: keyof Rates): number => (a?.[key] ?? 0) + (b?.[key] ?? 0);

export class MapView implements View {
  readonly title = "Map";
  readonly element = h("div", { class: "map-view" });
  private readonly below = h("canvas", { "aria-hidden": "true" });
  private readonly above = h("canvas", { tabindex: 0, role: "application", "aria-describedby": "map-help",
    "aria-label": "Service map" });
  private readonly stage = h("div", { class: "stage" });
  private readonly panel = h("aside", { class: "panel", "aria-label": "Selection", hidden: true });
  private readonly tip = h("div", { class: "tip", hidden: true });
  private readonly said = h("div", { class: "said", "aria-live": "polite" });
  private readonly notice = h("div", { class: "notice" });
  private readonly search = h("input", { type: "search", placeholder: "Find a workload ( / )", "aria-label": "Find a workload", id: "filter" });
  private readonly spaces = h("select", { "aria-label": "Namespace" });
  private readonly denied = h("input", { type: "checkbox" });
  private readonly tiles: { value: HTMLElement; line: HTMLCanvasElement; show: () => [string, number[], string] }[] = [];
  private renderer!: Renderer;
  private worker: Worker | null = null;
  private stop: (() => void)[] = [];
  private frame = 0;
  private topology = -1;
  private shownSpaces = "";
  private filters = "";
  private nodes: MapNode[] = [];
  private edges: MapEdge[] = [];
  private index = new Map<string, number>();
  private buffer = new Float32Array(0);
  private drawNodes: DrawNode[] = [];
  private drawGroups: DrawGroup[] = [];
  private stale = true;  // the buffers do not show what is known
  private dirty = true;  // the picture does not show the buffers
  private moving = false; // edges with traffic
  private slowFrames = 0;
  private lastFrame = 0;
  private fitted = false;
  private hovered = "";
  private selected = "";
  private panelTimer = 0;
  private charts: { rate: Chart; latency: Chart; data: Chart } | null = null;
  frames = 0;

  constructor() {
    const tile = (title: string, show: () => [string, number[], string]): HTMLElement => {
      const value = h("strong"), line = spark();
      this.tiles.push({ value, line, show });
      return h("div", { class: "tile" }, h("span", null, title), value, line);
    };
    const column = (i: 1 | 2 | 3 | 4 | 5): number[] => live.column(i);
    fill(this.element,
      h("section", { class: "tiles", "aria-label": "Last five minutes" },
        tile("Connections", () => [rate(live.total.flows_s), column(1), "accent"]),
        tile("Refused", () => [rate(live.total.dropped_s), column(2), "bad"]),
        tile("Requests", () => [rate(live.total.requests_s), column(3), "good"]),
        tile("Errors", () => [live.total.requests_s ? `${short((live.total.errors_s ?? 0) / live.total.requests_s * 100)} %` : "–", column(4), "bad"]),
        tile("Latency p95", () => [ms(live.total.p95_ms), [], "accent"]),
        tile("Data", () => [`${bytes(live.total.bytes_s)}/s`, column(5), "info"])),
      h("div", { class: "bar" }, this.search, this.spaces,
        h("label", { class: "check" }, this.denied, "Refused only"),
        h("span", { class: "grow" }),
        h("button", { type: "button", title: "Zoom in (+)", "aria-label": "Zoom in", onclick: () => this.zoom(1.3) }, "+"),
        h("button", { type: "button", title: "Zoom out (-)", "aria-label": "Zoom out", onclick: () => this.zoom(1 / 1.3) }, "−"),
        h("button", { type: "button", title: "Show all (0)", onclick: () => this.fit() }, "Fit")),
      this.stage);
    fill(this.stage, this.below, this.above, this.notice, this.tip, this.panel, this.said,
      h("p", { id: "map-help", class: "said" }, "Arrow keys go from node to node, Enter opens the workload, plus and minus zoom, 0 shows all."));
  }

  start(): void {
    this.renderer ??= new Renderer(this.below, this.above);
    this.worker = new Worker("/layout.js");
    this.worker.onmessage = (event: MessageEvent<{ ids: string[]; places: Float32Array; resting: boolean }>) => this.moved(event.data);
    const observer = new ResizeObserver(() => { this.renderer.resize(); if (!this.fitted) this.fit(); this.dirty = true; });
    observer.observe(this.stage);
    this.renderer.resize();
    this.stop = [live.listen(() => this.update()), () => observer.disconnect(), this.pointers(), this.keys()];
    this.search.addEventListener("input", () => setParams({ q: this.search.value || null }, true));
    this.spaces.addEventListener("change", () => setParams({ namespace: this.spaces.value || null }));
    this.denied.addEventListener("change", () => setParams({ refused: this.denied.checked ? "1" : null }));
    this.topology = -1;
    this.address();
    this.update();
    const loop = (now: number): void => { this.frame = requestAnimationFrame(loop); this.paint(now); };
    this.frame = requestAnimationFrame(loop);
  }

  end(): void {
    cancelAnimationFrame(this.frame);
    clearInterval(this.panelTimer);
    for (const stop of this.stop) stop();
    this.worker?.terminate();
    this.worker = null;
    this.keepPlaces();
  }

  address(): void {
    const query = params();
    if (this.search !== document.activeElement) this.search.value = query.get("q") ?? "";
    this.spaces.value = query.get("namespace") ?? "";
    this.denied.checked = query.get("refused") === "1";
    this.select(query.get("select") ?? "", false);
    const filters = [query.get("q"), query.get("namespace"), query.get("refused")].join("\n");
    if (filters === this.filters) return;
    this.filters = filters;
    this.topology = -1;
    this.update();
  }

  theme(): void { this.stale = this.dirty = true; this.update(); }
  focusFilter(): void { this.search.focus(); }

  // --- what is shown

  private update(): void {
    for (const { value, line, show } of this.tiles) {
      const [text, values, tone] = show();
      value.textContent = text;
      drawSpark(line, values, tone);
    }
    if (this.topology !== live.topology) {
      this.topology = live.topology;
      this.arrange();
    }
    for (const [i, node] of this.nodes.entries()) this.nodes[i] = live.nodes.get(node.id) ?? node;
    for (const [i, edge] of this.edges.entries()) this.edges[i] = live.edges.get(edgeKey(edge.from, edge.to)) ?? edge;
    this.stale = true;
    this.notify();
    if (this.selected) this.showPanel(false);
  }

  private notify(): void {
    const { state } = live;
    if (this.nodes.length > 0 || state === "connecting") fill(this.notice);
    else if (state === "lost") fill(this.notice, empty("The agent does not answer", live.problem, " The page tries again by itself."));
    else if (live.nodes.size === 0) {
      fill(this.notice, empty("No workloads yet", "Start one with ", h("code", null, "beeline run --name web -- python3 -m http.server 80"),
        ", or let your container runtime use the CNI plugin. It appears here at once."));
    } else fill(this.notice, empty("Nothing matches", "Clear the search, the namespace or “Refused only”."));
  }

  // Chooses nodes and edges by the filters and hands them to the layout.
  private arrange(): void {
    const text = (params().get("q") ?? "").toLowerCase(), space = params().get("namespace") ?? "", refused = this.denied.checked;
    const near = new Set<string>();
    const wanted = (node: MapNode): boolean =>
      (!space || node.namespace === space) && (!text || nodeTitle(node).toLowerCase().includes(text));
    const edges: MapEdge[] = [];
    for (const edge of live.edges.values()) {
      if (edge.from === edge.to || (refused && !edge.dropped && !edge.last_dropped)) continue;
      const from = live.nodes.get(edge.from), to = live.nodes.get(edge.to);
      if (!from || !to || !(wanted(from) || wanted(to))) continue;
      edges.push(edge);
      near.add(edge.from).add(edge.to);
    }
    this.nodes = [...live.nodes.values()].filter((node) => near.has(node.id) || (!refused && wanted(node)));
    this.nodes.sort((a, b) => a.id < b.id ? -1 : 1);
    this.edges = edges;
    this.index = new Map(this.nodes.map((node, i) => [node.id, i]));
    const pairs = new Uint32Array(edges.length * 2);
    edges.forEach((edge, i) => { pairs[i * 2] = this.index.get(edge.from)!; pairs[i * 2 + 1] = this.index.get(edge.to)!; });
    this.worker?.postMessage({
      nodes: this.nodes.map((node) => ({ id: node.id, group: groupOf(node), x: places.get(node.id)?.[0], y: places.get(node.id)?.[1] })),
      edges: pairs,
    });
    const names = [...new Set([...live.nodes.values()].map((node) => node.namespace ?? "").filter(Boolean))].sort();
    if (names.join() === this.shownSpaces) return;
    this.shownSpaces = names.join();
    fill(this.spaces, h("option", { value: "" }, "All namespaces"), ...names.map((name) => h("option", { value: name }, name)));
    this.spaces.value = space;
  }

  private moved(message: { ids: string[]; places: Float32Array; resting: boolean }): void {
    message.ids.forEach((id, i) => places.set(id, [message.places[i * 2]!, message.places[i * 2 + 1]!]));
    this.stale = true;
    if (!this.fitted) this.fit(message.resting);
    if (message.resting) this.keepPlaces();
  }

  private keepPlaces(): void {
    const kept = [...places].slice(-1500).map(([id, [x, y]]) => [id, Math.round(x), Math.round(y)]);
    try { localStorage.setItem(kPlaces, JSON.stringify(kept)); } catch { /* full or forbidden: the layout is made again */ }
  }

  private rebuild(): void {
    const dark = { good: rgb(colour("edge")), bad: rgb(colour("bad")), warn: rgb(colour("warn")) };
    const many = this.edges.length > 1200;
    const now = live.time;
    if (this.buffer.length < this.edges.length * kEdgeFloats) this.buffer = new Float32Array(this.edges.length * kEdgeFloats * 2);
    const focus = this.selected || this.hovered;
    const edgeFocus = focus.includes(">");
    const near = new Set<string>(focus ? edgeFocus ? focus.split(">") : [focus] : []);
    const radius = (node: MapNode): number => 9 + Math.min(11, Math.sqrt(sum(node.in, node.out, "flows_s") + sum(node.in, node.out, "requests_s")) * 1.6);
    this.moving = false;
    const scale = Math.min(1.25, Math.max(0.4, camera?.scale ?? 1));
    // The refused last: on top.
    const order = this.edges.map((edge, i) => ({ i, bad: edge.dropped || edge.last_dropped ? 1 : 0 })).sort((a, b) => a.bad - b.bad || a.i - b.i);
    order.forEach(({ i, bad }, slot) => {
      const edge = this.edges[i]!;
      const from = this.nodes[this.index.get(edge.from)!], to = this.nodes[this.index.get(edge.to)!];
      const a = places.get(edge.from), b = places.get(edge.to);
      const e = slot * kEdgeFloats;
      this.buffer.fill(0, e, e + kEdgeFloats);
      if (!from || !to || !a || !b) return;
      const key = edgeKey(edge.from, edge.to);
      const chosen = focus !== "" && (focus === key || focus === edge.from || focus === edge.to);
      if (chosen && !edgeFocus) near.add(edge.from).add(edge.to);
      const rateNow = (edge.flows_s ?? 0) + (edge.requests_s ?? 0);
      const recent = bad && now - (edge.last_dropped ?? 0) < kDeniedFor;
      const failing = !bad && (edge.requests ?? 0) > 0 && (edge.errors ?? 0) / edge.requests! > 0.05;
      const tone = bad ? dark.bad : failing ? dark.warn : dark.good;
      const quiet = rateNow === 0 && !recent;
      let alpha = many ? quiet ? 0.12 : bad ? 0.7 : 0.26 : recent ? 1 : quiet ? 0.4 : 0.85;
      if (focus && !chosen) alpha *= 0.15;
      else if (chosen) alpha = Math.max(alpha, 0.9);
      this.buffer.set([a[0], a[1], b[0], b[1], radius(from) * scale, radius(to) * scale,
        Math.min(5, 1.5 + Math.log10(1 + rateNow) * 1.5), bad ? 1 : 0, ...tone, alpha, quiet || bad ? 0 : 0.25 + Math.min(0.8, Math.log10(1 + rateNow) * 0.3)], e);
      if (!quiet) this.moving = true;
    });
    const boxes = new Map<string, DrawGroup>();
    this.drawNodes = [];
    for (const node of this.nodes) {
      const place = places.get(node.id);
      if (!place) continue;
      const group = groupOf(node), r = radius(node), tint = tintOf(group);
      const box = boxes.get(group);
      const [left, right, top, bottom] = [place[0] - 58, place[0] + 58, place[1] - 46, place[1] + 56];
      if (box) {
        box.left = Math.min(box.left, left); box.right = Math.max(box.right, right);
        box.top = Math.min(box.top, top); box.bottom = Math.max(box.bottom, bottom);
      } else boxes.set(group, { label: group, left, right, top, bottom, tint });
      const dropped = sum(node.in, undefined, "dropped_s") > 0;
      const requests = sum(node.in, undefined, "requests_s"), flows = sum(node.in, undefined, "flows_s");
      this.drawNodes.push({
        x: place[0], y: place[1], radius: r, fill: tint,
        ring: this.selected === node.id ? colour("text") : dropped ? colour("bad") : this.hovered === node.id ? colour("text") : "",
        label: node.kind === "workload" || node.kind === "remote" ? node.name ?? "" : nodeTitle(node),
        detail: requests ? `${rate(requests)}${node.in?.p95_ms ? `  ${ms(node.in.p95_ms)}` : ""}` : flows ? rate(flows) : "",
        shape: node.kind === "host" ? "square" : node.kind === "world" ? "cloud" : "disc",
        faded: focus !== "" && !near.has(node.id), weight: r + (near.has(node.id) && focus ? 100 : 0),
      });
    }
    this.drawGroups = [...boxes.values()].sort((a, b) => a.label < b.label ? -1 : 1);
  }

  private paint(now: number): void {
    const animate = this.moving && this.renderer.painter !== null && this.slowFrames < 12 && this.edges.length <= 1200 && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.stale && !this.dirty && !animate) { this.lastFrame = 0; return; }
    // Where frames take too long the edges stand still: what is told matters more.
    if (this.lastFrame) this.slowFrames = now - this.lastFrame > 40 ? this.slowFrames + 1 : Math.max(0, this.slowFrames - 0.2);
    this.lastFrame = now;
    const fresh = this.stale;
    if (this.stale) this.rebuild();
    this.stale = this.dirty = false;
    this.renderer.draw(this.buffer, this.edges.length, fresh, this.drawNodes, this.drawGroups, camera ?? { scale: 1, x: 0, y: 0 }, now / 1000);
    ++this.frames;
  }

  // --- camera

  private fit(keep = true): void {
    if (this.drawNodes.length === 0) this.rebuild();
    let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
    for (const node of this.nodes) {
      const place = places.get(node.id);
      if (!place) continue;
      left = Math.min(left, place[0] - 80); right = Math.max(right, place[0] + 80);
      top = Math.min(top, place[1] - 60); bottom = Math.max(bottom, place[1] + 70);
    }
    if (left > right) return;
    const width = this.renderer.width - (this.panel.hidden ? 0 : 340), height = this.renderer.height;
    const scale = Math.min(1.4, width / (right - left), height / (bottom - top));
    camera = { scale, x: width / 2 - (left + right) / 2 * scale, y: height / 2 - (top + bottom) / 2 * scale };
    if (keep) this.fitted = true;
    this.stale = true;
  }

  private zoom(by: number, x = this.renderer.width / 2, y = this.renderer.height / 2): void {
    if (!camera) return;
    const scale = Math.min(6, Math.max(0.05, camera.scale * by));
    by = scale / camera.scale;
    camera = { scale, x: x - (x - camera.x) * by, y: y - (y - camera.y) * by };
    this.fitted = true;
    this.stale = true;
  }

  panBy(x: number, y: number): void {
    if (!camera) return;
    camera = { ...camera, x: camera.x + x, y: camera.y + y };
    this.fitted = true;
    this.dirty = true;
  }

  // --- pointer and keys

  private at(x: number, y: number): string {
    if (!camera) return "";
    let best = "", least = 18;
    for (const node of this.drawNodes) {
      const distance = Math.hypot(node.x * camera.scale + camera.x - x, node.y * camera.scale + camera.y - y) - node.radius * Math.min(1.25, camera.scale);
      if (distance < least) { least = distance; best = this.nodes[this.drawNodes.indexOf(node)]!.id; }
    }
    if (best && least < 6) return best;
    least = 7;
    for (const edge of this.edges) {
      const a = places.get(edge.from), b = places.get(edge.to);
      if (!a || !b) continue;
      const ax = a[0] * camera.scale + camera.x, ay = a[1] * camera.scale + camera.y;
      const dx = b[0] * camera.scale + camera.x - ax, dy = b[1] * camera.scale + camera.y - ay;
      const square = dx * dx + dy * dy || 1;
      const part = ((x - ax) * dx + (y - ay) * dy) / square;
      if (part < 0 || part > 1) continue;
      // Edges run three pixels to the side, so that both directions can be told apart.
      const distance = Math.abs(((x - ax) * -dy + (y - ay) * dx) / Math.sqrt(square) - 3);
      if (distance < least) { least = distance; best = edgeKey(edge.from, edge.to); }
    }
    return best;
  }

  private pointers(): () => void {
    const canvas = this.above;
    let drag: { x: number; y: number; far: number } | null = null;
    const down = (event: PointerEvent): void => {
      drag = { x: event.clientX, y: event.clientY, far: 0 };
      canvas.setPointerCapture(event.pointerId);
    };
    const move = (event: PointerEvent): void => {
      if (drag) {
        const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
        drag = { x: event.clientX, y: event.clientY, far: drag.far + Math.abs(dx) + Math.abs(dy) };
        if (drag.far > 3) this.panBy(dx, dy);
        return;
      }
      const found = this.at(event.offsetX, event.offsetY);
      canvas.style.cursor = found ? "pointer" : "grab";
      this.showTip(found, event.offsetX, event.offsetY);
      if (found !== this.hovered) { this.hovered = found; this.stale = true; }
    };
    const up = (event: PointerEvent): void => {
      if (drag && drag.far <= 3) this.select(this.at(event.offsetX, event.offsetY));
      drag = null;
    };
    const leave = (): void => { this.hovered = ""; this.tip.hidden = true; this.stale = true; };
    const wheel = (event: WheelEvent): void => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0016), event.offsetX, event.offsetY);
    };
    const open = (event: MouseEvent): void => this.open(this.at(event.offsetX, event.offsetY));
    const pairs: [string, EventListener][] = [["pointerdown", down as EventListener], ["pointermove", move as EventListener],
      ["pointerup", up as EventListener], ["pointerleave", leave], ["wheel", wheel as EventListener], ["dblclick", open as EventListener]];
    for (const [name, handler] of pairs) canvas.addEventListener(name, handler, { passive: false });
    return () => { for (const [name, handler] of pairs) canvas.removeEventListener(name, handler); };
  }

  private keys(): () => void {
    const handler = (event: KeyboardEvent): void => {
      const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const arrow = arrows[event.key];
      if (arrow) this.walk(...arrow);
      else if (event.key === "Enter") this.open(this.selected);
      else if (event.key === "Escape") this.select("");
      else if (event.key === "+" || event.key === "=") this.zoom(1.3);
      else if (event.key === "-") this.zoom(1 / 1.3);
      else if (event.key === "0") this.fit();
      else return;
      event.preventDefault();
    };
    this.above.addEventListener("keydown", handler);
    return () => this.above.removeEventListener("keydown", handler);
  }

  // The nearest node in a direction.
  private walk(x: number, y: number): void {
    const here = places.get(this.selected);
    let best = "", least = Infinity;
    for (const node of this.nodes) {
      const place = places.get(node.id);
      if (!place || node.id === this.selected) continue;
      if (!here) { best = node.id; break; }
      const dx = place[0] - here[0], dy = place[1] - here[1];
      const ahead = dx * x + dy * y, aside = Math.abs(dx * y) + Math.abs(dy * x);
      if (ahead <= 0) continue;
      const cost = ahead + aside * 2.2;
      if (cost < least) { least = cost; best = node.id; }
    }
    if (best) this.select(best);
  }

  private open(id: string): void {
    const node = live.nodes.get(id);
    if (node?.kind === "workload") go(`/workloads/${encodeURIComponent(node.namespace ?? "")}/${encodeURIComponent(node.name ?? "")}`);
    else if (id.includes(">")) go(flowsOf(...id.split(">") as [string, string]));
  }

  // --- selection

  private select(id: string, write = true): void {
    if (id === this.selected) return;
    this.selected = id;
    this.stale = true;
    clearInterval(this.panelTimer);
    this.charts = null;
    this.panel.hidden = id === "";
    if (write) setParams({ select: id || null }, true);
    if (id === "") { this.said.textContent = ""; return; }
    this.showPanel(true);
    this.panelTimer = setInterval(() => void this.loadCharts(), 2000) as unknown as number;
  }

  private showTip(id: string, x: number, y: number): void {
    this.tip.hidden = id === "";
    if (id === "") return;
    const edge = live.edges.get(id), node = live.nodes.get(id);
    if (edge) {
      fill(this.tip, h("strong", null, `${idTitle(edge.from)} → ${idTitle(edge.to)}`),
        h("div", null, edge.requests_s ? `${rate(edge.requests_s)} requests, p95 ${ms(edge.p95_ms)}` : `${rate(edge.flows_s)} connections`),
        edge.last_dropped ? h("div", { class: "bad" }, `${edge.reason ?? "dropped"}, ${edge.dropped ?? 0} in 5 min`) : null);
    } else if (node) {
      fill(this.tip, h("strong", null, nodeTitle(node)), h("div", null, `in ${rate(node.in?.flows_s)}   out ${rate(node.out?.flows_s)}`));
    }
    this.tip.style.left = `${Math.min(x + 14, this.renderer.width - 240)}px`;
    this.tip.style.top = `${y + 14}px`;
  }

  private showPanel(fresh: boolean): void {
    const edge = live.edges.get(this.selected), node = live.nodes.get(this.selected);
    const body = this.panel.querySelector(".panel-body") ?? h("div", { class: "panel-body" });
    const facts = (rows: [string, string | Node | undefined | false][]): HTMLElement =>
      h("dl", null, ...rows.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value as string)]));
    if (edge) {
      fill(body, h("h2", null, idTitle(edge.from), " → ", idTitle(edge.to)),
        edge.last_dropped ? h("p", { class: "verdict bad" }, `${edge.reason ?? "Dropped"} · ${ago(edge.last_dropped, live.time)}`) : null,
        facts([["Connections", `${rate(edge.flows_s)}, ${short(edge.flows ?? 0)} in 5 min`],
          ["Requests", edge.requests ? `${rate(edge.requests_s)}, ${short(edge.errors ?? 0)} of ${short(edge.requests)} failed` : ""],
          ["Latency", edge.p50_ms ? `p50 ${ms(edge.p50_ms)}, p95 ${ms(edge.p95_ms)}` : ""],
          ["Refused", edge.dropped ? `${short(edge.dropped)} in 5 min` : ""],
          ["Data", edge.bytes ? `${bytes(edge.bytes_s)}/s, ${bytes(edge.bytes)}` : ""],
          ["Ports", (edge.ports ?? []).map((port) => `${port.protocol}${port.port ? `:${port.port}` : ""}${port.service ? ` (${port.service})` : ""}`).join(", ")],
          ["Speaks", edge.l7?.join(", ")],
          ["Last seen", ago(edge.last_seen, live.time)]]),
        h("p", { class: "links" }, link(flowsOf(edge.from, edge.to), "Flows"), edge.last_dropped ? link("/drops", "Why refused") : null));
    } else if (node) {
      const peers = [...live.edges.values()].filter((one) => one.from === node.id || one.to === node.id)
        .sort((a, b) => ((b.last_dropped ? 1e6 : 0) + (b.flows ?? 0)) - ((a.last_dropped ? 1e6 : 0) + (a.flows ?? 0))).slice(0, 14);
      fill(body, h("h2", null, nodeTitle(node)),
        h("p", { class: "chips" }, ...Object.entries(node.labels ?? {}).slice(0, 8).map(([key, value]) => h("span", { class: "chip" }, `${key}=${value}`)),
          node.ingress_isolated ? h("span", { class: "chip shield" }, "ingress policy") : null,
          node.egress_isolated ? h("span", { class: "chip shield" }, "egress policy") : null),
        facts([["Serves", `${rate(node.in?.flows_s)} connections`],
          ["Requests", node.in?.requests ? `${rate(node.in.requests_s)}, ${short(node.in.errors ?? 0)} of ${short(node.in.requests)} failed` : ""],
          ["Latency", node.in?.p50_ms ? `p50 ${ms(node.in.p50_ms)}, p95 ${ms(node.in.p95_ms)}` : ""],
          ["Calls", `${rate(node.out?.flows_s)} connections`],
          ["Refused", sum(node.in, node.out, "dropped") ? `${node.in?.dropped ?? 0} in, ${node.out?.dropped ?? 0} out` : ""]]),
        h("p", { class: "links" }, node.kind === "workload" ? link(`/workloads/${encodeURIComponent(node.namespace ?? "")}/${encodeURIComponent(node.name ?? "")}`, "Open workload") : null,
          node.name && node.kind !== "world" ? link(`/flows?pod=${encodeURIComponent(`${node.namespace}/${node.name}`)}`, "Flows") : null),
        peers.length ? h("h3", null, "Peers") : null,
        h("ul", { class: "peers" }, ...peers.map((one) => {
          const other = one.from === node.id ? one.to : one.from;
          return h("li", null, h("button", { type: "button", class: one.last_dropped ? "bad" : "", onclick: () => this.select(edgeKey(one.from, one.to)) },
            one.from === node.id ? "→ " : "← ", idTitle(other), h("span", null, one.last_dropped ? "refused" : rate(one.requests_s || one.flows_s))));
        })));
    } else {
      fill(body, h("h2", null, idTitle(this.selected.split(">")[0] ?? "")), h("p", null, "Quiet for five minutes; no longer on the map."));
    }
    if (!fresh) return;
    this.charts = {
      rate: new Chart({ title: "Per second", format: short, height: 72 }),
      latency: new Chart({ title: "Latency", format: ms, height: 72, stepSeconds: 10 }),
      data: new Chart({ title: "Data", format: (value) => `${bytes(value)}/s`, height: 56 }),
    };
    fill(this.panel, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => { this.select(""); this.above.focus(); } }, "×"), body,
      this.charts.rate.element, this.charts.latency.element, this.charts.data.element);
    this.said.textContent = (node ? nodeTitle(node) : this.selected.split(">").map(idTitle).join(" to ")) +
      (edge?.last_dropped ? `, ${edge.reason ?? "refused"}` : "");
    void this.loadCharts();
  }

  private async loadCharts(): Promise<void> {
    const id = this.selected, charts = this.charts;
    if (!charts || document.hidden) return;
    try {
      const [from, to] = id.split(">");
      const series = to !== undefined
        ? await get<Series>(`/v1/map/series?from=${encodeURIComponent(from!)}&to=${encodeURIComponent(to)}`)
        : (await get<{ in: Series; out: Series }>(`/v1/map/series?node=${encodeURIComponent(id)}`)).in;
      if (this.charts === charts) showSeries(series, charts);
    } catch { /* gone from the map: the panel says so */ }
  }
}

export function showSeries(series: Series, charts: { rate: Chart; latency: Chart; data: Chart }): void {
  // The last second is not over yet.
  const whole = (values: number[]): number[] => values.slice(0, -1);
  const end = series.start + series.flows.length - 2;
  charts.rate.set([{ label: "connections", colour: "accent", values: whole(series.flows), style: "columns" },
    { label: "requests", colour: "good", values: whole(series.requests), style: "line" },
    { label: "errors", colour: "warn", values: whole(series.errors), style: "columns" },
    { label: "refused", colour: "bad", values: whole(series.dropped), style: "columns" }], end);
  charts.latency.set([{ label: "p95", colour: "info", values: series.p95_ms, style: "line" },
    { label: "p50", colour: "good", values: series.p50_ms, style: "line" }], series.latency_start + (series.p50_ms.length - 1) * series.latency_step_s);
  charts.data.set([{ label: "", colour: "info", values: whole(series.bytes), style: "columns" }], end);
}

export function flowsOf(from: string, to: string): string {
  const query = new URLSearchParams();
  if (from.startsWith("w:")) query.append("pod", from.slice(2));
  if (to.startsWith("w:")) query.append("to_pod", to.slice(2));
  return `/flows?${query.toString().replaceAll("%2F", "/")}`;
}
