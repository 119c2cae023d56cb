// Who may talk to whom, and the rule that says so.
import { get, isAbort } from "./api";
import { empty, failure, fill, h } from "./dom";
import type { MatrixCell, MatrixCheck, MatrixGroup, PolicyMatrix } from "./model";
import { params, setParams, type View } from "./router";

function groupTitle(group: MatrixGroup): string {
  if (group.kind === "world") return "outside";
  if (group.kind === "host") return "host";
  const first = `${group.namespace}/${group.names[0] ?? ""}`;
  return group.count > 1 ? `${first} +${group.count - 1}` : first;
}

export class PolicyView implements View {
  readonly title = "Policy";
  readonly element = h("div", { class: "page" });
  private readonly space = h("input", { type: "text", id: "filter", placeholder: "Namespace ( / )", "aria-label": "Namespace", size: 18 });
  private readonly port = h("input", { type: "number", min: 1, max: 65535, placeholder: "Port", "aria-label": "Port" });
  private readonly protocol = h("select", { "aria-label": "Protocol" }, ...["tcp", "udp", "sctp"].map((value) => h("option", { value }, value.toUpperCase())));
  private readonly body = h("div", { class: "scroll matrix" });
  private readonly detail = h("aside", { class: "drawer", "aria-live": "polite", hidden: true });
  private abort = new AbortController();

  constructor() {
    fill(this.element, h("form", { class: "bar", onsubmit: (event: Event) => {
      event.preventDefault();
      setParams({ namespace: this.space.value.split(/[\s,]+/).filter(Boolean), port: this.port.value || null, protocol: this.port.value && this.protocol.value !== "tcp" ? this.protocol.value : null });
    } }, this.space, this.port, this.protocol, h("button", { type: "submit" }, "Show"),
    h("span", { class: "legend" }, h("i", { class: "cell allowed" }), "allowed", h("i", { class: "cell some" }), "some ports", h("i", { class: "cell denied" }), "denied")),
    h("div", { class: "split" }, this.body, this.detail));
  }
  start(): void { this.address(); }
  end(): void { this.abort.abort(); }
  focusFilter(): void { this.space.focus(); }

  address(): void {
    const query = params();
    this.space.value = query.getAll("namespace").join(" ");
    this.port.value = query.get("port") ?? "";
    this.protocol.value = query.get("protocol") ?? "tcp";
    void this.load(query);
  }

  private async load(query: URLSearchParams): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    const asked = new URLSearchParams();
    for (const name of ["namespace", "port", "protocol", "limit"]) for (const value of query.getAll(name)) asked.append(name, value);
    try {
      this.show(await get<PolicyMatrix>(`/v1/policy/matrix?${asked.toString()}`, this.abort.signal));
    } catch (error) {
      if (!isAbort(error)) fill(this.body, failure(error));
    }
  }

  private show(matrix: PolicyMatrix): void {
    if (!matrix.groups.some((group) => group.kind === "workload")) {
      fill(this.body, empty("No workloads here", "Policies are about workloads: start one, or clear the namespace."));
      return;
    }
    const cells = new Map(matrix.cells.map((cell) => [cell.from * 1000 + cell.to, cell]));
    const buttons: (HTMLButtonElement | null)[][] = [];
    const rows = matrix.groups.map((from, i) => {
      buttons.push([]);
      return h("tr", null, h("th", { scope: "row", title: from.names.join(", ") }, groupTitle(from)), ...matrix.groups.map((to, j) => {
        const cell = cells.get(i * 1000 + j);
        const button = cell ? h("button", { type: "button", class: `cell ${cell.verdict}`, tabindex: -1,
          "aria-label": `${groupTitle(from)} to ${groupTitle(to)}: ${cell.verdict === "some" ? "some ports allowed" : cell.verdict}`,
          onclick: () => this.explain(matrix, cell), onfocus: () => { if (!this.detail.hidden) this.explain(matrix, cell); } }) : null;
        buttons[i]!.push(button);
        return h("td", null, button);
      }));
    });
    buttons.flat().find(Boolean)?.setAttribute("tabindex", "0");
    const table = h("table", { "aria-label": "From row to column" }, h("thead", null, h("tr", null, h("th", { class: "corner" }, "from ↓  to →"),
      ...matrix.groups.map((group) => h("th", { scope: "col", title: group.names.join(", ") }, h("span", null, groupTitle(group)))))), h("tbody", null, ...rows));
    table.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      let [row, column] = [-1, -1];
      buttons.forEach((line, i) => line.forEach((button, j) => { if (button && button === document.activeElement) [row, column] = [i, j]; }));
      if (!step || row < 0) { if (event.key === "Escape") this.detail.hidden = true; return; }
      event.preventDefault();
      for (;;) {
        row += step[0]!;
        column += step[1]!;
        const line = buttons[row];
        if (!line || column < 0 || column >= line.length) return;
        const next = line[column];
        if (!next) continue;
        document.activeElement?.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
        return;
      }
    });
    fill(this.body, table, matrix.more ? h("p", { class: "muted" }, `${matrix.more} more groups are not shown: choose a namespace.`) : null,
      matrix.late ? h("p", { class: "bad" }, "There are too many rules to judge every pair: choose a namespace or a port.") : null);
  }

  private explain(matrix: PolicyMatrix, cell: MatrixCell): void {
    const title = (i: number): string => matrix.titles[i] ?? "";
    const side = (name: string, check: MatrixCheck | undefined): string => {
      if (!check) return `${name}: no policy restricts it`;
      if (check.rule !== undefined) return `${name}: ${check.allowed ? "allowed" : "denied"} by ${title(check.rule)}`;
      if (check.allowed) return `${name}: allowed, the host or the workload itself`;
      return `${name}: nothing allows it in ${(check.policies ?? []).map(title).join(", ")}`;
    };
    const from = matrix.groups[cell.from]!, to = matrix.groups[cell.to]!;
    this.detail.hidden = false;
    fill(this.detail, h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => { this.detail.hidden = true; } }, "×"),
      h("h2", null, `${groupTitle(from)} → ${groupTitle(to)}`),
      from.count > 1 || to.count > 1 ? h("p", { class: "muted" }, `${from.names.join(", ")} → ${to.names.join(", ")}`) : null,
      ...cell.ports.map((port) => h("div", { class: `ruling ${port.allowed ? "good" : "bad"}` },
        h("strong", null, port.other ? "every other port" : `${port.protocol}:${port.port}${port.name ? ` (${port.name})` : ""}`),
        h("span", { class: `badge ${port.allowed ? "good" : "bad"}` }, port.allowed ? "allowed" : "denied"),
        h("p", null, side("Egress", port.egress)), h("p", null, side("Ingress", port.ingress)))));
  }
}
