// Small charts on a canvas: columns or lines over the last five minutes, with the value under the pointer.
import { colour, h } from "./dom";

export interface Line { label: string; colour: string; values: number[]; style: "columns" | "line" }
export interface ChartOptions { title: string; format: (value: number) => string; height?: number; stepSeconds?: number }

export class Chart {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas");
  private readonly value = h("span", { class: "chart-value" });
  private lines: Line[] = [];
  private end = 0;
  private pointer = -1;

  constructor(private readonly options: ChartOptions) {
    this.canvas.style.height = `${options.height ?? 96}px`;
    this.canvas.setAttribute("role", "img");
    this.element = h("figure", { class: "chart" }, h("figcaption", null, h("span", null, options.title), this.value), this.canvas);
    this.canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.draw(); });
    this.canvas.addEventListener("pointerleave", () => { this.pointer = -1; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  // `end`: the second of the last value.
  set(lines: Line[], end: number): void {
    this.lines = lines;
    this.end = end;
    this.draw();
  }

  draw(): void {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (width === 0 || height === 0) return;
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const { format, stepSeconds = 1, title } = this.options;
    let top = 0;
    for (const line of this.lines) for (const value of line.values) top = Math.max(top, value);
    const scale = top > 0 ? (height - 16) / top : 0;
    context.strokeStyle = colour("line");
    context.lineWidth = 1;
    context.beginPath();
    for (const part of [0, 0.5, 1]) {
      const at = Math.round(height - 1 - part * (height - 16)) + 0.5;
      context.moveTo(0, at);
      context.lineTo(width, at);
    }
    context.stroke();
    for (const line of this.lines) {
      const each = width / Math.max(1, line.values.length);
      context.fillStyle = context.strokeStyle = colour(line.colour);
      if (line.style === "columns") {
        line.values.forEach((value, i) => {
          if (value > 0) context.fillRect(i * each, height - 1 - Math.max(1.5, value * scale), Math.max(1, each - 0.4), Math.max(1.5, value * scale));
        });
        continue;
      }
      context.lineWidth = 1.6;
      context.lineJoin = "round";
      context.beginPath();
      let drawing = false;
      line.values.forEach((value, i) => {
        if (value <= 0) { drawing = false; return; }
        const at: [number, number] = [(i + 0.5) * each, height - 1 - value * scale];
        if (drawing) context.lineTo(...at);
        else { context.moveTo(at[0] - each / 2, at[1]); context.lineTo(...at); }
        drawing = true;
      });
      context.stroke();
    }
    context.fillStyle = colour("muted");
    context.font = "10px system-ui, sans-serif";
    context.textBaseline = "top";
    if (top > 0) context.fillText(format(top), 2, 0);
    const count = this.lines[0]?.values.length ?? 0;
    // What never happened is not spelt out.
    const told = this.lines.filter((line, i) => i === 0 || line.values.some((value) => value > 0));
    let text: string;
    if (this.pointer >= 0 && count > 0) {
      const i = Math.min(count - 1, Math.max(0, Math.floor(this.pointer / width * count)));
      context.fillStyle = colour("muted");
      context.fillRect((i + 0.5) * width / count, 12, 1, height - 12);
      const time = new Date((this.end - (count - 1 - i) * stepSeconds) * 1000).toTimeString().slice(0, 8);
      text = `${time}  ${told.map((line) => `${line.label} ${format(line.values[i] ?? 0)}`).join("  ")}`;
    } else {
      text = told.map((line) => `${line.label} ${format(line.values[count - 1] ?? 0)}`).join("  ");
    }
    this.value.textContent = text;
    this.canvas.setAttribute("aria-label", `${title}, last five minutes: ${text}, highest ${format(top)}`);
  }
}

export function spark(): HTMLCanvasElement {
  return h("canvas", { class: "spark", "aria-hidden": "true" });
}

export function drawSpark(canvas: HTMLCanvasElement, values: number[], name: string): void {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const context = canvas.getContext("2d");
  if (!context || width === 0) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  // Two seconds a column, so that they can be told apart.
  const sums: number[] = [];
  for (let i = values.length % 2; i + 1 < values.length; i += 2) sums.push((values[i] ?? 0) + (values[i + 1] ?? 0));
  const top = Math.max(1, ...sums), each = width / sums.length;
  context.fillStyle = colour(name);
  sums.forEach((value, i) => {
    if (value > 0) context.fillRect(i * each, height - Math.max(1, value / top * height), Math.max(0.8, each - 0.3), height);
  });
}
