// All workloads, and one of them: charts, peers, policies, processes, alerts.
import { get, isAbort, lines } from "./api";
import { Chart } from "./chart";
import { ago, bytes, empty, failure, fill, h, link, ms, rate, short } from "./dom";
import { live } from "./live";
import { showSeries } from "./map_view";
import { idTitle, type Alert, type MapEdge, type Series, type Workload, type WorkloadDetail } from "./model";
import { params, setParams, type View } from "./router";

const kRefreshMs = 2000;
const path = (space: string, name: string): string => `/workloads/${encodeURIComponent(space)}/${encodeURIComponent(name)}`;

export class WorkloadsView implements View {
  readonly title = "Workloads";
  readonly element = h("div", { class: "page" });
  private readonly search = h("input", { type: "search", id: "filter", placeholder: "Name, namespace or label ( / )", "aria-label": "Find workloads", size: 32 });
  private readonly body = h("div", { class: "scroll" });
  private workloads: Workload[] = [];
  private stop: (() => void)[] = [];
  private loaded = "";

  constructor() {
    fill(this.element, h("div", { class: "bar" }, this.search), this.body);
    this.search.addEventListener("input", () => setParams({ q: this.search.value || null }, true));
  }
  start(): void {
    this.search.value = params().get("q") ?? "";
    this.stop = [live.listen(() => void this.refresh())];
    this.loaded = "";
    void this.refresh();
  }
  end(): void { for (const stop of this.stop) stop(); }
  address(): void { this.show(); }
  focusFilter(): void { this.search.focus(); }

  private async refresh(): Promise<void> {
    const now = `${live.topology}`;
    if (this.loaded !== now) {
      this.loaded = now;
      try { this.workloads = (await get<{ workloads: Workload[] }>("/v1/workloads")).workloads; }
      catch (error) { fill(this.body, failure(error)); return; }
    }
    this.show();
  }

  private show(): void {
    const text = (params().get("q") ?? "").toLowerCase();
    const found = this.workloads.filter((one) => `${one.namespace}/${one.name} ${Object.entries(one.labels).map((pair) => pair.join("=")).join(" ")}`.toLowerCase().includes(text))
      .sort((a, b) => `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1);
    if (found.length === 0) {
      fill(this.body, this.workloads.length ? empty("Nothing matches", "Clear the search.")
        : empty("No workloads yet", "Start one with ", h("code", null, "beeline run --name web -- python3 -m http.server 80"), "."));
      return;
    }
    const focus = document.activeElement instanceof HTMLAnchorElement && this.body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fill(this.body, h("table", { "aria-label": "Workloads" },
      h("thead", null, h("tr", null, ...["Workload", "Address", "Policies", "Serves", "Requests", "Errors", "p95", "Refused", "Labels"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", null, ...found.map((one) => {
        const node = live.nodes.get(`w:${one.namespace}/${one.name}`);
        const refused = (node?.in?.dropped ?? 0) + (node?.out?.dropped ?? 0);
        return h("tr", null, h("td", null, link(path(one.namespace, one.name), `${one.namespace}/${one.name}`)), h("td", { class: "muted" }, one.addresses[0] ?? ""),
          h("td", null, one.isolated?.ingress ? h("span", { class: "chip shield" }, "in") : null, one.isolated?.egress ? h("span", { class: "chip shield" }, "out") : null),
          h("td", { class: "number" }, rate(node?.in?.flows_s)), h("td", { class: "number" }, node?.in?.requests ? rate(node.in.requests_s) : "–"),
          h("td", { class: "number" }, node?.in?.requests ? `${short((node.in.errors ?? 0) / node.in.requests * 100)} %` : "–"),
          h("td", { class: "number" }, ms(node?.in?.p95_ms)), h("td", { class: `number ${refused ? "bad" : ""}` }, short(refused)),
          h("td", { class: "muted story" }, Object.entries(one.labels).map((pair) => pair.join("=")).join(" ")));
      }))));
    if (focus) this.body.querySelector<HTMLElement>(`a[href="${CSS.escape(focus)}"]`)?.focus();
  }
}

export class WorkloadView implements View {
  readonly title: string;
  readonly element = h("div", { class: "page workload" });
  private readonly head = h("header");
  private readonly peers = h("section");
  private readonly policies = h("section");
  private readonly processes = h("section");
  private readonly alerts = h("section");
  private readonly charts = {
    rate: new Chart({ title: "Served per second", format: short }), latency: new Chart({ title: "Latency", format: ms, stepSeconds: 10 }),
    data: new Chart({ title: "Data received and sent", format: (value) => `${bytes(value)}/s` }),
  };
  private readonly out = { rate: new Chart({ title: "Calls per second", format: short }), latency: new Chart({ title: "Latency of its calls", format: ms, stepSeconds: 10 }),
    data: new Chart({ title: "Data of its calls", format: (value) => `${bytes(value)}/s` }) };
  private timer = 0;
  private abort = new AbortController();
  private shownPolicies = "";

  constructor(private readonly space: string, private readonly name: string) {
    this.title = `${space}/${name}`;
    fill(this.element, this.head,
      h("div", { class: "charts" }, ...[this.charts, this.out].flatMap((set) => [set.rate.element, set.latency.element, set.data.element])),
      h("div", { class: "columns" }, this.peers, this.policies, this.processes, this.alerts));
  }

  start(): void {
    this.abort = new AbortController();
    void this.load(true);
    this.timer = setInterval(() => { if (!document.hidden) void this.load(false); }, kRefreshMs) as unknown as number;
  }
  end(): void { clearInterval(this.timer); this.abort.abort(); }
  theme(): void { for (const set of [this.charts, this.out]) for (const chart of Object.values(set)) chart.draw(); }

  private async load(first: boolean): Promise<void> {
    try {
      const detail = await get<WorkloadDetail>(`/v1${path(this.space, this.name)}`, this.abort.signal);
      this.show(detail);
      const series = await get<{ in: Series; out: Series }>(`/v1/map/series?node=${encodeURIComponent(`w:${this.space}/${this.name}`)}`, this.abort.signal);
      showSeries(series.in, this.charts);
      showSeries(series.out, this.out);
      await this.showPolicies(detail);
      if (first) await this.showAlerts();
    } catch (error) {
      if (isAbort(error)) return;
      fill(this.head, h("h1", null, this.title), failure(error), link("/workloads", "All workloads"));
    }
  }

  private show(one: WorkloadDetail): void {
    fill(this.head, h("h1", null, h("span", { class: "muted" }, `${one.namespace}/`), one.name),
      h("p", { class: "chips" }, ...Object.entries(one.labels).map(([key, value]) => h("span", { class: "chip" }, `${key}=${value}`))),
      h("p", { class: "muted" }, [one.addresses.join(", "), one.ports.map((port) => `${port.name || "port"} ${port.protocol}:${port.port}`).join(", "),
        one.source ? `started by ${one.source}` : "", one.created ? `since ${new Date(one.created).toLocaleString()}` : ""].filter(Boolean).join("  ·  ")),
      h("p", { class: "links" }, link(`/flows?pod=${one.namespace}/${one.name}`, "Flows"),
        link(`/flows?pod=${one.namespace}/${one.name}&verdict=dropped`, "Refused flows"),
        link(`/?select=${encodeURIComponent(`w:${one.namespace}/${one.name}`)}`, "On the map"), link(`/policy?namespace=${one.namespace}`, "Policy of its namespace")));
    const list = (title: string, edges: MapEdge[], other: "from" | "to", none: string): HTMLElement => h("div", null, h("h3", null, title),
      edges.length === 0 ? h("p", { class: "muted" }, none) : h("table", { class: "compact" }, h("thead", null, h("tr", null,
        ...["Peer", "Ports", "Rate", "Errors", "p95", "Refused", "Last"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", null, ...edges.sort((a, b) => (b.dropped ?? 0) - (a.dropped ?? 0) || (b.flows ?? 0) - (a.flows ?? 0)).slice(0, 50).map((edge) => h("tr", { class: edge.last_dropped ? "dropped" : "" },
        h("td", null, edge[other].startsWith("w:") ? link(`/workloads/${edge[other].slice(2)}`, idTitle(edge[other])) : idTitle(edge[other])),
        h("td", { class: "muted" }, (edge.ports ?? []).map((port) => `${port.protocol}${port.port ? `:${port.port}` : ""}`).join(" ")),
        h("td", { class: "number" }, rate(edge.requests_s || edge.flows_s)), h("td", { class: "number" }, edge.requests ? `${short((edge.errors ?? 0) / edge.requests * 100)} %` : "–"),
        h("td", { class: "number" }, ms(edge.p95_ms)), h("td", { class: `number ${edge.dropped ? "bad" : ""}`, title: edge.reason }, short(edge.dropped ?? 0)),
        h("td", { class: "muted" }, ago(edge.last_seen, live.time)))))));
    fill(this.peers, h("h2", null, "Peers"), list("Who calls it", one.peers.in, "from", "Nobody in the last five minutes."),
      list("Whom it calls", one.peers.out, "to", "Nobody in the last five minutes."));
    fill(this.processes, h("h2", null, "Processes"), one.processes.length === 0
      ? h("p", { class: "muted" }, "Its cgroup is not known, so its processes cannot be listed.")
      : h("table", { class: "compact" }, h("thead", null, h("tr", null, ...["PID", "Program", "User id"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, ...one.processes.map((process) => h("tr", null, h("td", { class: "number" }, link(`/flows?pid=${process.pid}`, process.pid)),
          h("td", null, process.binary ?? process.comm), h("td", { class: "number muted" }, process.uid ?? ""))))));
  }

  private async showPolicies(one: WorkloadDetail): Promise<void> {
    const titles = [...new Set([...one.policies?.ingress ?? [], ...one.policies?.egress ?? []])].sort();
    if (this.shownPolicies === titles.join() && titles.length) return;
    this.shownPolicies = titles.join();
    if (titles.length === 0) {
      fill(this.policies, h("h2", null, "Policies"), h("p", { class: "muted" }, "None selects this workload: it may talk to everybody, and everybody to it."));
      return;
    }
    const objects = (await get<{ objects: { kind: string; namespace: string; name: string; yaml: string }[] }>(
      `/v1/objects?kind=networkpolicy&namespace=${encodeURIComponent(one.namespace)}`, this.abort.signal)).objects;
    fill(this.policies, h("h2", null, "Policies"), ...titles.map((title) => {
      const object = objects.find((candidate) => `${candidate.kind} ${candidate.namespace}/${candidate.name}` === title);
      const sides = [one.policies?.ingress.includes(title) ? "ingress" : "", one.policies?.egress.includes(title) ? "egress" : ""].filter(Boolean).join(" and ");
      return h("details", null, h("summary", null, title, h("span", { class: "muted" }, `  restricts ${sides}`)), h("pre", { tabindex: 0 }, object?.yaml ?? "not found"));
    }));
  }

  private async showAlerts(): Promise<void> {
    const found: Alert[] = [];
    try {
      await lines<Alert>(`/v1/alerts?last=30&pod=${encodeURIComponent(this.space)}/${encodeURIComponent(this.name)}`, (alert) => found.push(alert), this.abort.signal);
    } catch (error) {
      if (isAbort(error)) return;
      fill(this.alerts, h("h2", null, "Alerts"), h("p", { class: "muted" }, error instanceof Error ? error.message : ""));
      return;
    }
    fill(this.alerts, h("h2", null, "Alerts"), found.length === 0 ? h("p", { class: "muted" }, "None.")
      : h("ul", { class: "alerts" }, ...found.reverse().map((alert) => h("li", null, h("span", { class: `badge ${/error|crit|alert|emerg/i.test(alert.priority) ? "bad" : "warn"}` }, alert.priority),
        h("strong", null, alert.rule), h("span", { class: "muted" }, new Date(alert.time).toLocaleTimeString()), h("p", null, alert.output)))));
  }
}
