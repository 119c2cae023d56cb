// What the agent's API answers, as far as this page reads it (src/api/server/openapi.yaml).

export interface Rates {
  flows_s?: number; bytes_s?: number; requests_s?: number; errors_s?: number; dropped_s?: number;
  p50_ms?: number; p95_ms?: number;
  flows?: number; bytes?: number; requests?: number; errors?: number; dropped?: number;
}

export interface MapNode {
  id: string;
  kind: "workload" | "remote" | "host" | "world";
  namespace?: string; name?: string; labels?: Record<string, string>;
  egress_isolated?: boolean; ingress_isolated?: boolean; last_seen?: number;
  in?: Rates; out?: Rates;
}

export interface MapPort { protocol: string; port?: number; service?: string }

export interface MapEdge extends Rates {
  from: string; to: string; last_seen?: number; last_dropped?: number; reason?: string; denied?: boolean;
  ports?: MapPort[]; l7?: string[];
}

export type SecondRow = [number, number, number, number, number, number];

export interface MapAnswer {
  cursor: string; time: number; full?: boolean; node?: string; lost?: number; crowded?: number;
  total: Rates; seconds: SecondRow[]; nodes: MapNode[]; edges: MapEdge[];
  gone_nodes?: string[]; gone_edges?: [string, string][];
}

export interface Series {
  start: number; step_s: number; flows: number[]; dropped: number[]; requests: number[]; errors: number[]; bytes: number[];
  latency_start: number; latency_step_s: number; p50_ms: number[]; p95_ms: number[];
}

export interface FlowProcess { pid: number; comm?: string; binary?: string; uid?: number; user?: string; container?: string; ancestry?: string[] }

export interface FlowEnd {
  kind: string; address?: string; port?: number; identity?: number; namespace?: string; name?: string;
  labels?: Record<string, string>; names?: string[]; process?: FlowProcess;
}

export interface L7 {
  protocol: string; type: string; status?: string; code?: number; latency_ns?: number; method?: string; resource?: string;
  host?: string; url?: string; error?: string;
}

export interface Flow {
  time: string; number?: number; kind: string; verdict?: string; protocol?: string;
  source: FlowEnd; destination: FlowEnd;
  service?: { name?: string; address?: string; port?: number };
  drop_reason?: { code: number; name: string; text: string };
  denied_direction?: string; denied_by?: string[]; egress_rule?: string; ingress_rule?: string;
  tcp_flags?: string[]; packets?: { source: number; destination: number }; bytes?: { source: number; destination: number };
  duration_ms?: number; interface?: string; l7?: L7; lost?: { where: string; count: number };
}

export interface Workload {
  id: number; namespace: string; name: string; labels: Record<string, string>;
  ports: { name: string; protocol: string; port: number }[]; addresses: string[];
  container?: string; pid?: number; source?: string; created?: string; identity?: number;
  isolated?: { ingress: boolean; egress: boolean }; policies?: { ingress: string[]; egress: string[] };
}

export interface WorkloadDetail extends Workload {
  processes: { pid: number; comm: string; binary?: string; uid?: number }[];
  peers: { in: MapEdge[]; out: MapEdge[] };
}

export interface Alert { time: string; rule: string; priority: string; output: string }

export interface MatrixCheck { allowed: boolean; rule?: number; policies?: number[] }
export interface MatrixPort {
  protocol: string; port: number; name?: string; other?: boolean; allowed: boolean; egress?: MatrixCheck; ingress?: MatrixCheck;
}
export interface MatrixGroup { kind: string; namespace?: string; labels?: Record<string, string>; names: string[]; count: number }
export interface MatrixCell { from: number; to: number; verdict: "allowed" | "denied" | "some"; ports: MatrixPort[] }
export interface PolicyMatrix { groups: MatrixGroup[]; cells: MatrixCell[]; titles: string[]; more?: number; late?: boolean }

export interface Status {
  version: string; node: string; uptime_s: number; workloads: number; policies: number;
  losses?: Record<string, number>; flows?: { stored: number; capacity: number; per_second: number };
}

export const edgeKey = (from: string, to: string): string => `${from}>${to}`;

export function nodeTitle(node: { kind: string; namespace?: string; name?: string; id?: string }): string {
  if (node.kind === "host") return "host";
  if (node.kind === "world") return node.name || "elsewhere";
  return node.namespace ? `${node.namespace}/${node.name}` : node.name ?? "";
}

// Of the part of an id that people know when the node itself is not there.
export function idTitle(id: string): string {
  if (id === "h:") return "host";
  return id.slice(2) || "elsewhere";
}

export function endTitle(end: FlowEnd): string {
  if (end.kind === "host") return "host";
  if (end.name) return `${end.namespace}/${end.name}`;
  return end.names?.[0] ?? end.address ?? end.kind;
}
