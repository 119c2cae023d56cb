// Live flows, filtered by the same parameters as `beeline flows` and GET /v1/flows.
import { isAbort, lines } from "./api";
import { bytes, clock, empty, failure, fill, h, link, ms, short } from "./dom";
import { endTitle, type Flow, type FlowEnd } from "./model";
import { params, setParams, type View } from "./router";

const kRows = 500;
const kLast = "200";
const kLists = ["pod", "to_pod", "port", "pid", "method", "status", "path"] as const;
const kSelects = ["verdict", "protocol", "since", "l7"] as const;
const kApplications = ["http", "http2", "grpc", "dns", "kafka", "redis", "postgresql", "mysql", "mongodb", "amqp", "nats", "memcached", "cassandra"];

function endCell(end: FlowEnd, port: boolean): HTMLElement {
  const title = endTitle(end);
  const text = port && end.port ? `${title}:${end.port}` : title;
  return end.kind === "workload" && end.name ? link(`/workloads/${encodeURIComponent(end.namespace ?? "")}/${encodeURIComponent(end.name)}`, text)
    : h("span", null, text);
}

// What the flow says beyond its ends: a request, the rule, or why it was dropped.
function story(flow: Flow): string {
  if (flow.lost) return `${short(flow.lost.count)} flows were lost (${flow.lost.where})`;
  if (flow.drop_reason) {
    const by = flow.denied_by?.length ? `, nothing in ${flow.denied_by.join(", ")} allows it` : "";
    const rule = flow.drop_reason.name === "POLICY_DENY" ? flow.ingress_rule ?? flow.egress_rule : "";
    return `${flow.drop_reason.text}${flow.denied_direction ? ` (${flow.denied_direction})` : ""}${by}${rule ? `: ${rule}` : ""}`;
  }
  if (flow.l7) {
    const { method = "", resource = "", code, latency_ns, protocol, error } = flow.l7;
    return [protocol, method, resource, code ? String(code) : "", latency_ns ? ms(latency_ns / 1e6) : "", error ?? ""].filter(Boolean).join(" ");
  }
  if (flow.kind === "closed") {
    const size = flow.bytes ? `${bytes(flow.bytes.source)} out, ${bytes(flow.bytes.destination)} in` : "";
    return [size, flow.duration_ms !== undefined ? flow.duration_ms ? ms(flow.duration_ms) : "< 1 ms" : ""].filter(Boolean).join(", ");
  }
  return flow.ingress_rule ?? flow.egress_rule ?? "";
}

export class FlowsView implements View {
  readonly title = "Flows";
  readonly element = h("div", { class: "page" });
  private readonly rows = h("tbody");
  private readonly message = h("div");
  private readonly detail = h("aside", { class: "drawer", hidden: true, "aria-label": "Flow" });
  private readonly table = h("table", { class: "flows", "aria-label": "Flows, newest first" },
    h("thead", null, h("tr", null, ...["Time", "Verdict", "Source", "Destination", "Protocol", "Process", "Facts"].map((name) => h("th", { scope: "col" }, name)))), this.rows);
  private readonly pod = this.input("pod", "Either end: shop/web, shop/, web");
  private readonly toPod = this.input("to_pod", "Destination: shop/web");
  private readonly port = this.input("port", "Port", 6);
  private readonly pid = this.input("pid", "Process id", 7);
  private readonly verdict = h("select", { "aria-label": "Verdict" }, ...["", "forwarded", "dropped"].map((value) => h("option", { value }, value || "Any verdict")));
  private readonly protocol = h("select", { "aria-label": "Protocol" },
    ...["", "tcp", "udp", "sctp", "icmp"].map((value) => h("option", { value }, value.toUpperCase() || "Any protocol")),
    h("optgroup", { label: "Requests and answers" }, h("option", { value: "l7" }, "All of them"), ...kApplications.map((value) => h("option", { value }, value))));
  private readonly method = this.input("method", "Method: GET", 11);
  private readonly status = this.input("status", "Status: 404, 5xx, error", 14);
  private readonly path = this.input("path", "Path or name: /cart", 16);
  private readonly since = h("select", { "aria-label": "Since" },
    ...[["", "Last 200"], ["1m", "Last minute"], ["5m", "5 minutes"], ["1h", "Hour"], ["24h", "Day"]].map(([value, text]) => h("option", { value: value! }, text)));
  private readonly follow = h("button", { type: "button", "aria-pressed": "true" }, "Live");
  private readonly count = h("span", { class: "muted", "aria-live": "polite" });
  private abort: AbortController | null = null;
  private flows = new Map<HTMLElement, Flow>();
  private waiting: Flow[] = [];
  private flush = 0;
  private selected: HTMLElement | null = null;
  private shown = "";

  constructor() {
    this.pod.id = "filter";
    fill(this.element, h("form", { class: "bar", role: "search", onsubmit: (event: Event) => { event.preventDefault(); this.apply(); } },
      this.pod, this.toPod, this.port, this.verdict, this.protocol, this.method, this.status, this.path, this.since, this.pid,
      h("button", { type: "submit" }, "Filter"), h("button", { type: "button", onclick: () => this.clear() }, "Clear"),
      h("span", { class: "grow" }), this.count, this.follow),
    h("div", { class: "split" }, h("div", { class: "scroll" }, this.table, this.message), this.detail));
    for (const select of [this.verdict, this.protocol, this.since]) select.addEventListener("change", () => this.apply());
    this.follow.addEventListener("click", () => setParams({ follow: this.follow.getAttribute("aria-pressed") === "true" ? "0" : null }));
    this.rows.addEventListener("click", (event) => this.choose((event.target as Element).closest("tr")));
    this.rows.addEventListener("keydown", (event) => this.key(event));
  }

  private input(name: string, hint: string, size = 22): HTMLInputElement {
    return h("input", { type: "text", name, placeholder: hint, "aria-label": hint, size, autocomplete: "off", spellcheck: "false" });
  }

  start(): void { this.shown = "?"; this.address(); }
  end(): void { this.abort?.abort(); clearTimeout(this.flush); }
  focusFilter(): void { this.pod.focus(); this.pod.select(); }

  private apply(): void {
    const list = (input: HTMLInputElement): string[] => input.value.split(/[\s,]+/).filter(Boolean);
    setParams({ pod: list(this.pod), to_pod: list(this.toPod), port: list(this.port), pid: list(this.pid),
      method: list(this.method), status: list(this.status), path: list(this.path), l7: this.protocol.value === "l7" ? "1" : null,
      verdict: this.verdict.value || null, protocol: this.protocol.value === "l7" ? null : this.protocol.value || null, since: this.since.value || null });
  }
  private clear(): void {
    setParams(Object.fromEntries([...kLists, ...kSelects].map((name) => [name, null])));
  }

  address(): void {
    const query = params();
    const inputs = { pod: this.pod, to_pod: this.toPod, port: this.port, pid: this.pid, method: this.method, status: this.status, path: this.path };
    for (const name of kLists) inputs[name].value = query.getAll(name).join(" ");
    this.verdict.value = query.get("verdict") ?? "";
    this.protocol.value = query.get("protocol")?.toLowerCase() ?? (query.get("l7") === "1" ? "l7" : "");
    this.since.value = query.get("since") ?? "";
    const live = query.get("follow") !== "0";
    this.follow.setAttribute("aria-pressed", String(live));
    this.follow.textContent = live ? "Live" : "Paused";
    if (this.shown === query.toString()) return;
    this.shown = query.toString();
    void this.load(query, live);
  }

  private async load(query: URLSearchParams, live: boolean): Promise<void> {
    this.abort?.abort();
    const abort = this.abort = new AbortController();
    fill(this.rows);
    this.flows.clear();
    this.waiting = [];
    this.showDetail(null);
    const asked = new URLSearchParams();
    for (const name of [...kLists, ...kSelects]) for (const value of query.getAll(name)) if (value) asked.append(name, value);
    if (!asked.has("since")) asked.set("last", kLast);
    if (live) asked.set("follow", "1");
    fill(this.message, empty("Waiting for flows", "Nothing has matched yet."));
    try {
      await lines<Flow>(`/v1/flows?${asked.toString()}`, (flow) => this.take(flow), abort.signal);
      this.show();
      if (this.flows.size === 0) fill(this.message, empty("No flows match", "Take a filter away, or look further back with “Since”."));
    } catch (error) {
      if (isAbort(error) || abort.signal.aborted) return;
      this.show();
      fill(this.message, failure(error));
    }
  }

  private take(flow: Flow): void {
    this.waiting.push(flow);
    if (this.waiting.length > kRows) this.waiting.shift();
    this.flush ||= setTimeout(() => { this.flush = 0; this.show(); }, 120) as unknown as number;
  }

  private show(): void {
    if (this.waiting.length === 0) return;
    fill(this.message);
    const rows = this.waiting.reverse().map((flow) => this.row(flow));
    this.waiting = [];
    this.rows.prepend(...rows);
    while (this.rows.childElementCount > kRows) {
      const last = this.rows.lastElementChild as HTMLElement;
      this.flows.delete(last);
      last.remove();
    }
    if (!this.rows.querySelector("tr[tabindex='0']")) this.rows.firstElementChild?.setAttribute("tabindex", "0");
    this.count.textContent = `${this.flows.size} shown`;
  }

  private row(flow: Flow): HTMLElement {
    const dropped = flow.verdict === "DROPPED";
    const process = flow.source?.process ?? flow.destination?.process;
    const text = story(flow);
    const row = flow.lost
      ? h("tr", { class: "lost", tabindex: -1 }, h("td", { class: "time" }, clock(flow.time)), h("td", { colspan: 6 }, text))
      : h("tr", { class: dropped ? "dropped" : "", tabindex: -1 },
        h("td", { class: "time", title: flow.time }, clock(flow.time)),
        h("td", null, h("span", { class: `badge ${dropped ? "bad" : flow.kind === "l7" ? "info" : "good"}` }, dropped ? "dropped" : flow.kind)),
        h("td", null, endCell(flow.source, false)),
        h("td", null, endCell(flow.destination, true), flow.service?.name ? h("span", { class: "muted" }, ` via ${flow.service.name}`) : null),
        h("td", null, flow.protocol ?? ""),
        h("td", { class: "muted" }, process ? `${(process.binary ?? process.comm ?? "").split("/").pop()} ${process.pid}` : ""),
        h("td", { class: "story", title: text }, text));
    this.flows.set(row, flow);
    return row;
  }

  private key(event: KeyboardEvent): void {
    const row = (event.target as Element).closest("tr");
    if (!row) return;
    const next = event.key === "ArrowDown" ? row.nextElementSibling : event.key === "ArrowUp" ? row.previousElementSibling
      : event.key === "Home" ? this.rows.firstElementChild : event.key === "End" ? this.rows.lastElementChild : null;
    if (next) {
      row.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      (next as HTMLElement).focus();
      if (!this.detail.hidden) this.choose(next as HTMLElement);
    } else if (event.key === "Enter" && event.target === row) this.choose(row as HTMLElement);
    else if (event.key === "Escape") this.showDetail(null);
    else return;
    event.preventDefault();
  }

  private choose(row: HTMLElement | null): void {
    const flow = row && this.flows.get(row);
    if (flow) this.showDetail(row, flow);
  }

  private showDetail(row: HTMLElement | null, flow?: Flow): void {
    this.selected?.removeAttribute("aria-selected");
    this.selected = row;
    this.detail.hidden = !flow;
    if (!flow) return;
    row?.setAttribute("aria-selected", "true");
    const end = (name: string, one: FlowEnd): HTMLElement[] => [h("h3", null, name), facts([
      ["Name", endCell(one, true)], ["Address", one.address && `${one.address}${one.port ? ` : ${one.port}` : ""}`],
      ["DNS", one.names?.join(", ")],
      ["Labels", Object.entries(one.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" ")],
      ["Process", one.process && `${one.process.binary ?? one.process.comm ?? ""} (${one.process.pid})`],
      ["User", one.process && (one.process.user ?? String(one.process.uid ?? ""))],
      ["Ancestry", one.process?.ancestry?.join(" ← ")],
      ["Container", one.process?.container]])];
    const facts = (rows: [string, string | Node | undefined][]): HTMLElement =>
      h("dl", null, ...rows.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value as string)]));
    fill(this.detail, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => { this.showDetail(null); row?.focus(); } }, "×"),
      h("h2", null, `${endTitle(flow.source)} → ${endTitle(flow.destination)}`),
      facts([["Time", flow.time], ["Kind", `${flow.kind}, ${flow.verdict ?? ""}`], ["Reason", flow.drop_reason?.text],
        ["Direction", flow.denied_direction], ["Denied by", flow.denied_by?.join(", ")], ["Egress rule", flow.egress_rule],
        ["Ingress rule", flow.ingress_rule], ["Service", flow.service && `${flow.service.name ?? ""} ${flow.service.address ?? ""}:${flow.service.port ?? ""}`],
        ["TCP flags", flow.tcp_flags?.join(" ")], ["Interface", flow.interface],
        ["Packets", flow.packets && `${flow.packets.source} out, ${flow.packets.destination} in`],
        ["Data", flow.bytes && `${bytes(flow.bytes.source)} out, ${bytes(flow.bytes.destination)} in`],
        ["Request", flow.l7 && story({ ...flow })]]),
      ...end("Source", flow.source), ...end("Destination", flow.destination));
  }
}
