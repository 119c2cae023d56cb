// Where the map's nodes lie. Runs beside the page; sends positions while something moves and then rests.
//
// The same map always comes out the same: first places come from the names, and no chance is involved. What was there
// before hardly moves when something joins: old nodes are slow, new ones start beside what they talk to.

interface NodeIn { id: string; group: string; x?: number | undefined; y?: number | undefined }
interface GraphIn { nodes: NodeIn[]; edges: Uint32Array }

const kRepulsion = 5200;
const kCutoff = 190;     // beyond it nodes do not push each other
const kSpring = 0.018;
const kRest = 120;       // length of an edge at rest
const kTogether = 0.035; // pull of a namespace's middle on its nodes
const kMiddle = 0.004;   // pull of the map's middle on namespaces
const kFrameX = 72, kFrameY = 64; // half of the room that a node takes in its namespace's frame
const kCool = 0.985;
const kStop = 0.012;
const kSliceMs = 8;
const kSendMs = 30;

let count = 0;
let ids: string[] = [];
let x = new Float32Array(0), y = new Float32Array(0), vx = new Float32Array(0), vy = new Float32Array(0);
let slow = new Float32Array(0); // 1: moves freely
let group = new Uint16Array(0);
let groups = 0;
let edges = new Uint32Array(0);
let heat = 0;
let running = false;
let sent = 0;

const scope = self as unknown as { postMessage(message: unknown, transfer?: Transferable[]): void; onmessage: unknown };

function hash(text: string): number {
  let value = 2166136261;
  for (let i = 0; i < text.length; ++i) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  value ^= value >>> 15;
  value = Math.imul(value, 0x2c1b3c6d);
  return (value ^ (value >>> 13)) >>> 0;
}

function take(graph: GraphIn): void {
  const places = new Map<string, [number, number]>();
  ids.forEach((id, i) => places.set(id, [x[i] as number, y[i] as number]));
  const known = graph.nodes.map((node) => places.get(node.id) ?? (node.x !== undefined && node.y !== undefined ? [node.x, node.y] as [number, number] : null));
  const fresh = known.filter((place) => !place).length;
  const names = [...new Set(graph.nodes.map((node) => node.group))].sort();
  const index = new Map(names.map((name, i) => [name, i]));
  count = graph.nodes.length;
  groups = names.length;
  ids = graph.nodes.map((node) => node.id);
  x = new Float32Array(count); y = new Float32Array(count);
  vx = new Float32Array(count); vy = new Float32Array(count);
  slow = new Float32Array(count); group = new Uint16Array(count);
  edges = graph.edges;

  // Middles of namespaces: of what is there, else on a spiral in the order of names, wide enough for their nodes.
  const sizes = new Float32Array(groups), sumX = new Float32Array(groups), sumY = new Float32Array(groups), placed = new Float32Array(groups);
  graph.nodes.forEach((node, i) => {
    const g = index.get(node.group) ?? 0;
    group[i] = g;
    sizes[g]! += 1;
    const place = known[i];
    if (place) { sumX[g]! += place[0]; sumY[g]! += place[1]; placed[g]! += 1; }
  });
  const spread = Math.sqrt(count) * 62;
  const middle = names.map((_, g): [number, number] => {
    if (placed[g]) return [sumX[g]! / placed[g]!, sumY[g]! / placed[g]!];
    const turn = g * 2.399963;
    const far = groups === 1 ? 0 : spread * Math.sqrt((g + 0.5) / groups);
    return [Math.cos(turn) * far * 1.35, Math.sin(turn) * far];
  });
  // A new node begins in the middle of those that it talks to and its namespace.
  const near = new Float32Array(count * 3);
  for (let e = 0; e + 1 < edges.length; e += 2) {
    for (const [a, b] of [[edges[e]!, edges[e + 1]!], [edges[e + 1]!, edges[e]!]] as const) {
      const place = known[b];
      if (known[a] || !place) continue;
      near[a * 3]! += place[0]; near[a * 3 + 1]! += place[1]; near[a * 3 + 2]! += 1;
    }
  }
  graph.nodes.forEach((node, i) => {
    const place = known[i];
    if (place) {
      x[i] = place[0]; y[i] = place[1]; slow[i] = fresh === 0 ? 0.5 : 0.18;
      return;
    }
    const value = hash(node.id);
    const turn = (value & 0xffff) / 0xffff * Math.PI * 2;
    const far = 24 + Math.sqrt(sizes[group[i]!]!) * 34 * ((value >>> 16) / 0xffff);
    let [mx, my] = middle[group[i]!]!;
    const peers = near[i * 3 + 2]!;
    if (peers > 0) { mx = (mx + near[i * 3]! / peers) / 2; my = (my + near[i * 3 + 1]! / peers) / 2; }
    x[i] = mx + Math.cos(turn) * far; y[i] = my + Math.sin(turn) * far; slow[i] = 1;
  });
  heat = Math.max(heat, fresh === count ? 1 : fresh > 0 ? 0.45 : 0.06);
  if (!running) { running = true; sent = 0; step(); }
}

function tick(): void {
  const cells = new Map<number, number[]>();
  const cell = (i: number): number => (Math.floor(x[i]! / kCutoff) + 4096) * 8192 + Math.floor(y[i]! / kCutoff) + 4096;
  for (let i = 0; i < count; ++i) {
    const key = cell(i);
    const list = cells.get(key);
    if (list) list.push(i); else cells.set(key, [i]);
  }
  const push = (i: number, j: number): void => {
    let dx = x[i]! - x[j]!, dy = y[i]! - y[j]!;
    let square = dx * dx + dy * dy;
    if (square > kCutoff * kCutoff) return;
    if (square < 1) { dx = (i - j) % 7 || 1; dy = (i + j) % 5 || 1; square = dx * dx + dy * dy; }
    const strength = kRepulsion * heat * (group[i] === group[j] ? 1 : 1.7) / (square * Math.sqrt(square) / 14 + 900);
    vx[i]! += dx * strength / 20; vy[i]! += dy * strength / 20;
    vx[j]! -= dx * strength / 20; vy[j]! -= dy * strength / 20;
  };
  for (const [key, list] of cells) {
    for (let a = 0; a < list.length; ++a)
      for (let b = a + 1; b < list.length; ++b) push(list[a]!, list[b]!);
    for (const other of [key + 1, key + 8191, key + 8192, key + 8193]) {
      const next = cells.get(other);
      if (next) for (const i of list) for (const j of next) push(i, j);
    }
  }
  const degree = new Uint16Array(count);
  for (let e = 0; e < edges.length; ++e) degree[edges[e]!]!++;
  for (let e = 0; e + 1 < edges.length; e += 2) {
    const i = edges[e]!, j = edges[e + 1]!;
    const dx = x[j]! - x[i]!, dy = y[j]! - y[i]!;
    const length = Math.sqrt(dx * dx + dy * dy) || 1;
    const inside = group[i] === group[j] ? 1 : 0.25;
    const pull = kSpring * heat * inside * (length - kRest) / length / Math.sqrt(Math.min(degree[i]!, degree[j]!) || 1);
    vx[i]! += dx * pull; vy[i]! += dy * pull; vx[j]! -= dx * pull; vy[j]! -= dy * pull;
  }
  // Namespaces keep together and apart.
  const gx = new Float32Array(groups), gy = new Float32Array(groups), gn = new Float32Array(groups);
  for (let i = 0; i < count; ++i) { const g = group[i]!; gx[g]! += x[i]!; gy[g]! += y[i]!; gn[g]! += 1; }
  for (let g = 0; g < groups; ++g) { gx[g]! /= gn[g] || 1; gy[g]! /= gn[g] || 1; }
  // The frames that the map draws around them must not overlap: the shorter way out is taken.
  const left = new Float32Array(groups).fill(Infinity), right = new Float32Array(groups).fill(-Infinity);
  const top = new Float32Array(groups).fill(Infinity), bottom = new Float32Array(groups).fill(-Infinity);
  for (let i = 0; i < count; ++i) {
    const g = group[i]!;
    left[g] = Math.min(left[g]!, x[i]! - kFrameX); right[g] = Math.max(right[g]!, x[i]! + kFrameX);
    top[g] = Math.min(top[g]!, y[i]! - kFrameY); bottom[g] = Math.max(bottom[g]!, y[i]! + kFrameY);
  }
  const px = new Float32Array(groups), py = new Float32Array(groups);
  for (let g = 0; g < groups; ++g) {
    px[g]! -= gx[g]! * kMiddle; py[g]! -= gy[g]! * kMiddle * 1.25;
    for (let o = g + 1; o < groups; ++o) {
      const wide = Math.min(right[g]!, right[o]!) - Math.max(left[g]!, left[o]!);
      const high = Math.min(bottom[g]!, bottom[o]!) - Math.max(top[g]!, top[o]!);
      if (wide <= 0 || high <= 0) continue;
      // The larger one stays.
      const share = gn[o]! / (gn[g]! + gn[o]!);
      if (wide < high) {
        const by = wide * 0.3 * (gx[g]! < gx[o]! ? -1 : 1);
        px[g]! += by * share; px[o]! -= by * (1 - share);
      } else {
        const by = high * 0.3 * (gy[g]! < gy[o]! ? -1 : 1);
        py[g]! += by * share; py[o]! -= by * (1 - share);
      }
    }
  }
  for (let i = 0; i < count; ++i) {
    const g = group[i]!;
    const apart = Math.sqrt(heat);
    vx[i]! += (gx[g]! - x[i]!) * kTogether * heat + px[g]! * apart;
    vy[i]! += (gy[g]! - y[i]!) * kTogether * heat + py[g]! * apart;
    vx[i]! *= 0.6; vy[i]! *= 0.6;
    const speed = Math.sqrt(vx[i]! * vx[i]! + vy[i]! * vy[i]!), most = 26 * heat + 1;
    const by = (speed > most ? most / speed : 1) * slow[i]!;
    x[i]! += vx[i]! * by; y[i]! += vy[i]! * by;
  }
  heat *= kCool;
}

function send(resting: boolean): void {
  const places = new Float32Array(count * 2);
  for (let i = 0; i < count; ++i) { places[i * 2] = x[i]!; places[i * 2 + 1] = y[i]!; }
  scope.postMessage({ ids, places, resting }, [places.buffer]);
}

function step(): void {
  const begin = performance.now();
  while (heat > kStop && performance.now() - begin < kSliceMs) tick();
  const now = performance.now();
  running = heat > kStop;
  if (!running || now - sent >= kSendMs) { sent = now; send(!running); }
  if (running) setTimeout(step, kSliceMs);
}

scope.onmessage = (event: MessageEvent<GraphIn>) => take(event.data);
