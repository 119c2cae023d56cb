// The service map, kept up to date by the agent's stream while the tab is visible.
import { ApiError, isAbort, lines } from "./api";
import { edgeKey, type MapAnswer, type MapEdge, type MapNode, type Rates, type SecondRow } from "./model";

const kSeconds = 300;
const kLongestWaitMs = 10_000;

export type State = "connecting" | "live" | "paused" | "lost" | "locked";

class Live {
  readonly nodes = new Map<string, MapNode>();
  readonly edges = new Map<string, MapEdge>();
  readonly seconds = new Map<number, SecondRow>();
  total: Rates = {};
  time = Date.now() / 1000;
  node = "";
  lost = 0;
  crowded = 0;
  state: State = "connecting";
  problem = "";
  topology = 0; // grows when nodes or edges come or go
  private cursor = "";
  private listeners = new Set<() => void>();
  private abort: AbortController | null = null;
  private waitMs = 500;
  private timer = 0;

  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  start(): void {
    document.addEventListener("visibilitychange", () => document.hidden ? this.pause() : void this.run());
    void this.run();
  }

  restart(): void {
    this.pause();
    this.waitMs = 500;
    void this.run();
  }

  private pause(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
    this.set("paused");
  }

  private async run(): Promise<void> {
    if (this.abort) return;
    const abort = this.abort = new AbortController();
    this.set("connecting");
    try {
      const cursor = this.cursor ? `&cursor=${encodeURIComponent(this.cursor)}` : "";
      await lines<MapAnswer>(`/v1/map?follow=1${cursor}`, (answer) => this.take(answer), abort.signal);
      this.problem = "The agent ended the stream.";
    } catch (error) {
      if (isAbort(error) || abort.signal.aborted) return;
      this.problem = error instanceof Error ? error.message : String(error);
      if (error instanceof ApiError && error.status === 401) {
        this.abort = null;
        this.set("locked");
        return;
      }
    }
    if (abort.signal.aborted) return;
    this.abort = null;
    this.set("lost");
    this.timer = setTimeout(() => void this.run(), this.waitMs) as unknown as number;
    this.waitMs = Math.min(this.waitMs * 2, kLongestWaitMs);
  }

  take(answer: MapAnswer): void {
    this.waitMs = 500;
    this.cursor = answer.cursor;
    if (answer.full) {
      this.nodes.clear();
      this.edges.clear();
      this.seconds.clear();
      ++this.topology;
    }
    for (const node of answer.nodes) {
      if (!this.nodes.has(node.id)) ++this.topology;
      this.nodes.set(node.id, node);
    }
    for (const edge of answer.edges) {
      const key = edgeKey(edge.from, edge.to);
      if (!this.edges.has(key)) ++this.topology;
      this.edges.set(key, edge);
    }
    for (const [from, to] of answer.gone_edges ?? [])
      if (this.edges.delete(edgeKey(from, to))) ++this.topology;
    for (const id of answer.gone_nodes ?? [])
      if (this.nodes.delete(id)) ++this.topology;
    for (const row of answer.seconds) this.seconds.set(row[0], row);
    for (const second of this.seconds.keys())
      if (second <= answer.time - kSeconds) this.seconds.delete(second);
    this.total = answer.total;
    this.time = answer.time;
    this.node = answer.node ?? this.node;
    this.lost = answer.lost ?? 0;
    this.crowded = answer.crowded ?? 0;
    this.state = "live";
    this.problem = "";
    this.tell();
  }

  // One value per second, the oldest first; column 1 flows, 2 dropped, 3 requests, 4 errors, 5 bytes.
  column(index: 1 | 2 | 3 | 4 | 5): number[] {
    const values: number[] = [];
    // The second that runs is not complete yet.
    for (let second = this.time - kSeconds; second < this.time; ++second) values.push(this.seconds.get(second)?.[index] ?? 0);
    return values;
  }

  private set(state: State): void {
    if (this.state === state) return;
    this.state = state;
    this.tell();
  }
  private tell(): void { for (const listener of this.listeners) listener(); }
}

export const live = new Live();
