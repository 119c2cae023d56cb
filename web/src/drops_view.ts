// What was refused, why, and the smallest policy that would let it through.
import { ApiError, get, isAbort, lines } from "./api";
import { clock, empty, failure, fill, h, link, short } from "./dom";
import { endTitle, type Flow, type FlowEnd } from "./model";
import { params, setParams, type View } from "./router";

interface KernelEnd { address: string; namespace?: string; name?: string; kind?: string }
interface KernelDrop {
  source: KernelEnd; destination: KernelEnd; protocol: string; port?: number; answer?: boolean;
  reason: string; text: string; count: number; where?: string; function?: string; first: string; last: string;
}
interface Drop { flow: Flow; count: number; first: string; element: HTMLElement | null }

const isWorkload = (end: FlowEnd): boolean => Boolean(end.name) && (end.kind === "workload" || end.kind === "remote");

// Labels that tell a program, not one copy of it.
function telling(labels: Record<string, string> = {}): Record<string, string> {
  const entries = Object.entries(labels).filter(([key]) => !/pod-template-hash|controller-revision|statefulset.kubernetes.io|pod-index/.test(key));
  const names = entries.filter(([key]) => /^(app|app\.kubernetes\.io\/(name|instance|component)|k8s-app|name|component|tier)$/.test(key));
  return Object.fromEntries(names.length ? names : entries);
}

const quoted = (text: string): string => /^[A-Za-z][\w./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text) ? text : JSON.stringify(text);

function selector(labels: Record<string, string>, indent: string): string {
  const entries = Object.entries(labels);
  return entries.length === 0 ? " {}\n" : `\n${indent}matchLabels:\n${entries.map(([key, value]) => `${indent}  ${quoted(key)}: ${quoted(value)}\n`).join("")}`;
}

// A NetworkPolicy that allows exactly this, in the direction that refused it. Policies add up: the others stay.
export function allowing(flow: Flow): string {
  const ingress = flow.denied_direction === "ingress";
  const subject = ingress ? flow.destination : flow.source, peer = ingress ? flow.source : flow.destination;
  if (!isWorkload(subject) || (flow.drop_reason?.name ?? "") !== "POLICY_DENIED") return "";
  const other = isWorkload(peer)
    ? `        - podSelector:${selector(telling(peer.labels), "            ")}${peer.namespace === subject.namespace ? "" : `          namespaceSelector:\n            matchLabels:\n              kubernetes.io/metadata.name: ${quoted(peer.namespace ?? "")}\n`}`
    : `        - ipBlock:\n            cidr: ${peer.address}/${peer.address?.includes(":") ? 128 : 32}\n`;
  const ports = flow.destination.port && /^(TCP|UDP|SCTP)$/.test(flow.protocol ?? "")
    ? `      ports:\n        - protocol: ${flow.protocol}\n          port: ${flow.destination.port}\n` : "";
  const name = `allow-${ingress ? "from" : "to"}-${(peer.name ?? peer.address ?? "peer").replace(/[^a-z0-9-]+/gi, "-").toLowerCase()}`.slice(0, 60).replace(/-+$/, "");
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: ${name}\n  namespace: ${subject.namespace}\nspec:\n` +
    `  podSelector:${selector(telling(subject.labels), "    ")}  policyTypes: [${ingress ? "Ingress" : "Egress"}]\n` +
    `  ${ingress ? "ingress" : "egress"}:\n    - ${ingress ? "from" : "to"}:\n${other}${ports}`;
}

export class DropsView implements View {
  readonly title = "Drops";
  readonly element = h("div", { class: "page drops" });
  private readonly pod = h("input", { type: "text", id: "filter", placeholder: "Either end: shop/web, shop/, web ( / )", "aria-label": "Workload", size: 32 });
  private readonly list = h("div", { class: "cards" });
  private readonly drops = new Map<string, Drop>();
  private abort = new AbortController();
  private timer = 0;
  private readonly kernel = h("section", { class: "kernel", "aria-label": "Dropped by the kernel" });
  private kernelTimer = 0;

  constructor() {
    fill(this.element, h("form", { class: "bar", onsubmit: (event: Event) => { event.preventDefault(); setParams({ pod: this.pod.value.split(/[\s,]+/).filter(Boolean) }); } },
      this.pod, h("button", { type: "submit" }, "Filter")), h("div", { class: "scroll" }, this.list, this.kernel));
  }
  start(): void { this.address(); }
  end(): void { this.abort.abort(); clearTimeout(this.timer); clearTimeout(this.kernelTimer); this.timer = 0; }
  focusFilter(): void { this.pod.focus(); }

  address(): void {
    this.pod.value = params().getAll("pod").join(" ");
    this.abort.abort();
    const abort = this.abort = new AbortController();
    this.drops.clear();
    this.show();
    const query = new URLSearchParams({ verdict: "dropped", last: "1000", follow: "1" });
    for (const pod of params().getAll("pod")) query.append("pod", pod);
    void this.askKernel(abort);
    lines<Flow>(`/v1/flows?${query.toString()}`, (flow) => this.take(flow), abort.signal).catch((error: unknown) => {
      if (!isAbort(error) && !abort.signal.aborted) fill(this.list, failure(error));
    });
  }

  // Sums, so they are asked for again and again.
  private async askKernel(abort: AbortController): Promise<void> {
    clearTimeout(this.kernelTimer);
    try {
      const { drops } = await get<{ drops: KernelDrop[] }>("/v1/kernel-drops?limit=1000", abort.signal);
      this.showKernel(drops);
    } catch (error) {
      // One without them says so in its status; the flows above are what matters.
      if (isAbort(error) || error instanceof ApiError) return;
    }
    if (!abort.signal.aborted) this.kernelTimer = setTimeout(() => void this.askKernel(abort), 3000) as unknown as number;
  }

  private showKernel(all: KernelDrop[]): void {
    const wanted = params().getAll("pod");
    const is = (end: KernelEnd, pod: string): boolean => pod.endsWith("/") ? `${end.namespace}/` === pod : pod.includes("/") ? `${end.namespace}/${end.name}` === pod : end.name === pod;
    const drops = all.filter((drop) => wanted.length === 0 || wanted.some((pod) => is(drop.source, pod) || is(drop.destination, pod))).slice(0, 100);
    if (drops.length === 0) return fill(this.kernel);
    const title = (end: KernelEnd): string => end.name ? `${end.namespace}/${end.name}` : end.kind === "host" ? "host" : end.address;
    fill(this.kernel, h("h2", null, "Dropped by the kernel"),
      h("p", { class: "muted" }, "Packets that Beeline let through and the kernel's own stack dropped, since the agent started."),
      h("table", null, h("thead", null, h("tr", null, ...["Packets", "Reason", "From", "To", "Port", "Where", "Last"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, ...drops.map((drop) => h("tr", null,
          h("td", { class: "number" }, short(drop.count)),
          h("td", { title: drop.function ?? "" }, h("span", { class: "badge bad" }, drop.reason), " ", drop.text),
          h("td", null, title(drop.source)), h("td", null, title(drop.destination)),
          h("td", null, `${drop.protocol}${drop.port ? `:${drop.port}` : ""}${drop.answer ? " (answer)" : ""}`),
          h("td", null, drop.where ?? ""), h("td", null, clock(drop.last).slice(0, 8)))))));
  }

  private take(flow: Flow): void {
    if (flow.lost) return;
    const key = [endTitle(flow.source), endTitle(flow.destination), flow.protocol, flow.destination.port, flow.drop_reason?.code, flow.denied_direction].join("|");
    const known = this.drops.get(key);
    this.drops.delete(key); // the newest last
    this.drops.set(key, { flow, count: (known?.count ?? 0) + 1, first: known?.first ?? flow.time, element: known?.element ?? null });
    this.timer ||= setTimeout(() => { this.timer = 0; this.show(); }, 200) as unknown as number;
  }

  private show(): void {
    if (this.drops.size === 0) {
      fill(this.list, empty("Nothing was refused", "When a policy or the kernel drops a connection it appears here, with the reason and what would allow it."));
      return;
    }
    const cards = [...this.drops.values()].reverse().slice(0, 100).map((drop) => {
      drop.element ??= this.card(drop);
      const told = drop.element.querySelector(".told");
      if (told) told.textContent = `${short(drop.count)}×, last ${clock(drop.flow.time).slice(0, 8)}`;
      return drop.element;
    });
    // Only what moved is moved, so that focus and open parts stay.
    cards.forEach((card, i) => { if (this.list.children[i] !== card) this.list.insertBefore(card, this.list.children[i] ?? null); });
    while (this.list.childElementCount > cards.length) this.list.lastElementChild?.remove();
  }

  private card({ flow }: Drop): HTMLElement {
    const { source, destination } = flow;
    const subject = flow.denied_direction === "egress" ? source : destination;
    const reason = flow.drop_reason;
    const yaml = allowing(flow);
    let why: string;
    if (reason?.name === "POLICY_DENY") why = `A rule denies it: ${flow.ingress_rule ?? flow.egress_rule ?? ""}`;
    else if (flow.denied_by?.length) {
      const one = flow.denied_by.length === 1;
      why = `${one ? "A policy selects" : "Policies select"} ${endTitle(subject)} and ${one ? "restricts" : "restrict"} what it ${flow.denied_direction === "egress" ? "sends" : "receives"}: ${flow.denied_by.join(", ")}. No rule of ${one ? "it" : "them"} allows ${endTitle(source)} → ${endTitle(destination)} on ${flow.protocol}${destination.port ? `:${destination.port}` : ""}.`;
    } else why = reason?.text ?? "";
    const answer = h("div");
    const ask = h("button", { type: "button", onclick: () => void this.ask(flow, answer) }, "Explain with today's policies");
    const details = h("details", null, h("summary", null, "What would allow it"), h("pre", { tabindex: 0 }, yaml),
      h("p", { class: "muted" }, "Save it and run ", h("code", null, "beeline apply -f FILE"), ". It adds to the policies that are there."),
      h("button", { type: "button", onclick: () => void navigator.clipboard?.writeText(yaml) }, "Copy"));
    const pods = [source, destination].filter(isWorkload).map((end) => `pod=${end.namespace}/${end.name}`);
    return h("article", null,
      h("h2", null, endTitle(source), h("span", { class: "muted" }, " → "), endTitle(destination), h("span", { class: "muted" }, ` ${flow.protocol ?? ""}${destination.port ? `:${destination.port}` : ""}`),
        h("span", { class: "told" })),
      h("p", null, h("span", { class: "badge bad" }, reason?.text ?? "dropped"), flow.denied_direction ? h("span", { class: "badge" }, flow.denied_direction) : null, " ", why),
      yaml ? details : null,
      h("p", { class: "links" }, pods.length ? link(`/flows?${pods[0]}&verdict=dropped`, "Flows") : null,
        subject.namespace ? link(`/policy?namespace=${subject.namespace}`, "Policy of the namespace") : null, ask), answer);
  }

  private async ask(flow: Flow, place: HTMLElement): Promise<void> {
    const end = (one: FlowEnd): string => one.kind === "host" ? "host" : isWorkload(one) ? `${one.namespace}/${one.name}` : one.address ?? "";
    const query = new URLSearchParams({ source: end(flow.source), destination: end(flow.destination), protocol: flow.protocol ?? "TCP" });
    if (flow.destination.port && /^(TCP|UDP|SCTP)$/.test(flow.protocol ?? "")) query.set("port", String(flow.destination.port));
    interface Check {
      allowed: boolean; rule?: string; policies?: string[];
      nearest?: { rule: string; failed: { text: string }[] }; changes?: { text: string; yaml?: string }[];
    }
    interface Why { verdict: string; reason: string; policy?: { allowed?: boolean; egress?: Check; ingress?: Check } }
    try {
      // An agent that explains more than the policy is asked that.
      let said: { allowed: boolean; text: string; egress?: Check; ingress?: Check };
      try {
        const why = await get<Why>(`/v1/why?${query.toString()}`);
        said = { text: why.reason, ...why.policy, allowed: why.verdict === "allowed" };
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 404) throw error;
        const explained = await get<{ allowed: boolean; egress?: Check; ingress?: Check }>(`/v1/policy/explain?${query.toString()}`);
        said = { text: "", ...explained };
      }
      const side = (name: string, check?: Check): HTMLElement => h("p", null, `${name}: ${!check ? "–" : check.allowed ? "allowed" : "denied"}`,
        check?.rule ? ` by ${check.rule}` : check && !check.allowed && check.policies ? `, nothing allows it in ${check.policies.join(", ")}` : "",
        check?.nearest ? h("span", null, h("br"), `Nearest rule: ${check.nearest.rule}, but ${check.nearest.failed.map((one) => one.text).join("; ")}`) : null,
        ...(check?.changes ?? []).slice(0, 4).map((change) => change.yaml
          ? h("details", null, h("summary", null, change.text), h("pre", { tabindex: 0 }, change.yaml)) : h("span", null, h("br"), change.text)));
      const policyAllows = said.egress?.allowed !== false && said.ingress?.allowed !== false;
      fill(place, h("div", { class: `ruling ${said.allowed ? "good" : "bad"}` },
        h("strong", null, said.allowed ? "It would be allowed now" : policyAllows && said.text ? "Policies allow it now, but it would not work" : "It is still denied"),
        said.text ? h("p", null, said.text) : null, side("Egress", said.egress), side("Ingress", said.ingress)));
    } catch (error) {
      fill(place, error instanceof ApiError && error.status === 404 ? h("p", { class: "muted" }, "One of the two is gone.") : failure(error));
    }
  }
}
