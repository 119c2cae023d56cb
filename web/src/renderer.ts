// Draws the map: edges by WebGL where the browser has it (else on the canvas of the nodes), nodes and names on a canvas.
import { colour } from "./dom";

export interface Camera { scale: number; x: number; y: number } // screen = world * scale + (x, y)

export interface DrawNode {
  x: number; y: number; radius: number; fill: string; ring: string; label: string; detail: string;
  shape: "disc" | "square" | "cloud"; faded: boolean; weight: number;
}
export interface DrawGroup { label: string; left: number; top: number; right: number; bottom: number; tint: string }

// Of one edge in the buffer: two ends, their radii, width, colour, dash, speed.
export const kEdgeFloats = 13;

const kVertex = `#version 300 es
layout(location=0) in vec2 corner;
layout(location=1) in vec4 ends;
layout(location=2) in vec4 shape;
layout(location=3) in vec4 tone;
layout(location=4) in float speed;
uniform vec2 size; uniform vec3 camera; uniform bool thin; uniform float sideways;
out float along; out float across; out float total; flat out vec4 paint; flat out vec3 style;
void main() {
  vec2 a = ends.xy * camera.z + camera.xy, b = ends.zw * camera.z + camera.xy;
  vec2 d = b - a;
  float gap = max(length(d), 0.001);
  d /= gap;
  vec2 n = vec2(-d.y, d.x);
  a += d * shape.x; b -= d * (shape.y + 1.0);
  total = max(dot(b - a, d), 0.0);
  float half_width = thin ? 0.0 : max(shape.z * 0.5 + 1.0, 5.0);
  across = corner.y * half_width;
  along = corner.x * total;
  vec2 p = a + d * along + n * (across + sideways);
  paint = tone; style = vec3(shape.z, shape.w, speed);
  gl_Position = vec4(p.x / size.x * 2.0 - 1.0, 1.0 - p.y / size.y * 2.0, 0.0, 1.0);
}`;

const kFragment = `#version 300 es
precision mediump float;
in float along; in float across; in float total; flat in vec4 paint; flat in vec3 style;
uniform bool thin; uniform float time;
out vec4 result;
void main() {
  float alpha = paint.a;
  if (!thin) {
    float left = total - along;
    float half_width = left < 8.0 ? left * 0.5 : style.x * 0.5;
    alpha *= 1.0 - smoothstep(half_width - 0.5, half_width + 0.5, abs(across));
    if (style.y > 0.5 && left >= 8.0) alpha *= step(fract(along / 9.0), 0.6);
    else if (style.z > 0.0 && left >= 8.0) {
      float wave = fract(along / 70.0 - time * style.z);
      alpha = min(1.0, alpha * (0.72 + 1.6 * smoothstep(0.82, 1.0, wave)));
    }
  }
  result = vec4(paint.rgb * alpha, alpha);
}`;

class EdgePainter {
  private constructor(
    private readonly gl: WebGL2RenderingContext, private readonly program: WebGLProgram, private readonly data: WebGLBuffer,
  ) {}
  private capacity = 0;

  static create(canvas: HTMLCanvasElement): EdgePainter | null {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, stencil: false, premultipliedAlpha: true });
    if (!gl) return null;
    const program = gl.createProgram();
    if (!program) return null;
    for (const [type, text] of [[gl.VERTEX_SHADER, kVertex], [gl.FRAGMENT_SHADER, kFragment]] as const) {
      const shader = gl.createShader(type);
      if (!shader) return null;
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      console.warn("the map is drawn without WebGL:", gl.getProgramInfoLog(program));
      return null;
    }
    const corners = gl.createBuffer(), data = gl.createBuffer();
    if (!corners || !data) return null;
    gl.bindBuffer(gl.ARRAY_BUFFER, corners);
    // Four corners for a band, then the two ends of a line.
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, -1, 1, -1, 0, 1, 1, 1, 0, 0, 1, 0]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, data);
    let offset = 0;
    [4, 4, 4, 1].forEach((floats, i) => {
      gl.enableVertexAttribArray(i + 1);
      gl.vertexAttribPointer(i + 1, floats, gl.FLOAT, false, kEdgeFloats * 4, offset);
      gl.vertexAttribDivisor(i + 1, 1);
      offset += floats * 4;
    });
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    return new EdgePainter(gl, program, data);
  }

  upload(edges: Float32Array): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.data);
    if (edges.byteLength > this.capacity) {
      this.capacity = edges.byteLength * 2;
      gl.bufferData(gl.ARRAY_BUFFER, this.capacity, gl.DYNAMIC_DRAW);
    }
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, edges);
  }

  draw(count: number, camera: Camera, width: number, height: number, time: number, thin: boolean): void {
    const { gl, program } = this;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (count === 0) return;
    gl.useProgram(program);
    const at = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(program, name);
    gl.uniform2f(at("size"), width, height);
    gl.uniform3f(at("camera"), camera.x, camera.y, camera.scale);
    gl.uniform1i(at("thin"), thin ? 1 : 0);
    gl.uniform1f(at("sideways"), thin ? 0 : 3);
    gl.uniform1f(at("time"), time);
    if (thin) gl.drawArraysInstanced(gl.LINES, 4, 2, count);
    else gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }
}

const kThinFrom = 1200; // edges: more are drawn as plain lines

export class Renderer {
  readonly painter: EdgePainter | null;
  width = 1;
  height = 1;

  constructor(private readonly below: HTMLCanvasElement, private readonly above: HTMLCanvasElement) {
    this.painter = EdgePainter.create(below);
  }

  resize(): void {
    const box = this.above.getBoundingClientRect();
    const ratio = Math.min(devicePixelRatio || 1, 2);
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    for (const canvas of [this.below, this.above]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
    }
  }

  draw(edges: Float32Array, edgeCount: number, fresh: boolean, nodes: DrawNode[], groups: DrawGroup[], camera: Camera, time: number): void {
    const context = this.above.getContext("2d");
    if (!context) return;
    const ratio = this.above.width / this.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const thin = edgeCount > kThinFrom;
    this.drawGroups(context, groups, camera);
    if (this.painter) {
      if (fresh) this.painter.upload(edges.subarray(0, edgeCount * kEdgeFloats));
      this.painter.draw(edgeCount, camera, this.width, this.height, time, thin);
    } else {
      this.drawLines(context, edges, edgeCount, camera);
    }
    this.drawNodes(context, nodes, camera);
  }

  private drawLines(context: CanvasRenderingContext2D, edges: Float32Array, count: number, camera: Camera): void {
    for (let i = 0; i < count; ++i) {
      const e = i * kEdgeFloats;
      const at = (j: number): number => edges[e + j]!;
      context.strokeStyle = `rgba(${at(8) * 255},${at(9) * 255},${at(10) * 255},${at(11)})`;
      context.lineWidth = at(6);
      context.setLineDash(at(7) > 0.5 ? [6, 4] : []);
      context.beginPath();
      context.moveTo(at(0) * camera.scale + camera.x, at(1) * camera.scale + camera.y);
      context.lineTo(at(2) * camera.scale + camera.x, at(3) * camera.scale + camera.y);
      context.stroke();
    }
    context.setLineDash([]);
  }

  private drawGroups(context: CanvasRenderingContext2D, groups: DrawGroup[], camera: Camera): void {
    context.font = "600 11px system-ui, sans-serif";
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.lineWidth = 1;
    for (const group of groups) {
      const left = group.left * camera.scale + camera.x, top = group.top * camera.scale + camera.y;
      const width = (group.right - group.left) * camera.scale, height = (group.bottom - group.top) * camera.scale;
      if (left > this.width || top > this.height || left + width < 0 || top + height < 0) continue;
      context.beginPath();
      context.roundRect(left, top, width, height, 16);
      context.globalAlpha = 0.06;
      context.fillStyle = group.tint;
      context.fill();
      context.globalAlpha = 0.35;
      context.strokeStyle = group.tint;
      context.stroke();
      context.globalAlpha = 1;
      context.fillStyle = colour("muted");
      context.fillText(group.label, left + 12, top + 17);
    }
  }

  private drawNodes(context: CanvasRenderingContext2D, nodes: DrawNode[], camera: Camera): void {
    const panel = colour("bg"), text = colour("text"), muted = colour("muted");
    // Names where there is room for them; the busiest always.
    const visible = nodes.filter((node) => {
      const x = node.x * camera.scale + camera.x, y = node.y * camera.scale + camera.y;
      return x > -60 && y > -60 && x < this.width + 60 && y < this.height + 60;
    });
    const room = Math.max(24, this.width * this.height / 9000);
    const least = visible.length <= room ? -1 : visible.map((node) => node.weight).sort((a, b) => b - a)[Math.floor(room / 3)] ?? 0;
    for (const node of visible) {
      const x = node.x * camera.scale + camera.x, y = node.y * camera.scale + camera.y;
      const radius = node.radius * Math.min(1.25, Math.max(0.4, camera.scale));
      context.globalAlpha = node.faded ? 0.22 : 1;
      context.beginPath();
      if (node.shape === "disc") context.arc(x, y, radius, 0, 6.2832);
      else if (node.shape === "square") context.roundRect(x - radius, y - radius, radius * 2, radius * 2, radius * 0.35);
      else context.roundRect(x - radius * 1.25, y - radius * 0.8, radius * 2.5, radius * 1.6, radius * 0.8);
      context.fillStyle = node.shape === "cloud" ? panel : node.fill;
      context.fill();
      context.lineWidth = node.ring ? 2.5 : 1.5;
      context.strokeStyle = node.ring || (node.shape === "cloud" ? node.fill : panel);
      context.stroke();
      if (node.faded || (node.weight < least && !node.ring)) continue;
      context.textAlign = "center";
      context.textBaseline = "top";
      context.font = "600 12px system-ui, sans-serif";
      context.lineWidth = 3;
      context.strokeStyle = panel;
      context.strokeText(node.label, x, y + radius + 5);
      context.fillStyle = text;
      context.fillText(node.label, x, y + radius + 5);
      if (node.detail && camera.scale > 0.75) {
        context.font = "11px system-ui, sans-serif";
        context.strokeText(node.detail, x, y + radius + 20);
        context.fillStyle = muted;
        context.fillText(node.detail, x, y + radius + 20);
      }
    }
    context.globalAlpha = 1;
  }
}
