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

// A graphics processor that is none, but a program: there lines on a canvas are many times cheaper.
function hasProcessor(): boolean {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  return gl !== null && !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(
    String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER)));
}

class EdgePainter {
  private constructor(
    private readonly gl: WebGL2RenderingContext, private readonly program: WebGLProgram, private readonly data: WebGLBuffer,
  ) {}
  private capacity = 0;

  static create(canvas: HTMLCanvasElement): EdgePainter | null {
    if (!hasProcessor()) return null;
    const gl = canvas.getContext("webgl2", { failIfMajorPerformanceCaveat: true, alpha: false, antialias: false, depth: false, stencil: false, premultipliedAlpha: true, powerPreference: "high-performance" });
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
    const back = parseInt(colour("bg").slice(1), 16);
    gl.clearColor((back >> 16 & 255) / 255, (back >> 8 & 255) / 255, (back & 255) / 255, 1);
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

interface Sprite { image: HTMLCanvasElement; width: number; height: number }

const kSprites = 2000;
const kNameFont = "600 12px system-ui, sans-serif";
const kDetailFont = "11px system-ui, sans-serif";
const kThinFrom = 1200; // edges: more are drawn as plain lines

export class Renderer {
  readonly painter: EdgePainter | null;
  width = 1;
  height = 1;
  private ratio = 1;
  private readonly sprites = new Map<string, Sprite>();
  private readonly measure = document.createElement("canvas").getContext("2d")!;

  constructor(private readonly below: HTMLCanvasElement, private readonly above: HTMLCanvasElement) {
    this.painter = EdgePainter.create(below);
    // One opaque canvas is less to put together than two.
    below.hidden = !this.painter;
  }

  resize(): void {
    const box = this.above.getBoundingClientRect();
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (ratio !== this.ratio) this.sprites.clear();
    this.ratio = ratio;
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    for (const canvas of [this.below, this.above]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
    }
  }

  draw(edges: Float32Array, edgeCount: number, fresh: boolean, nodes: DrawNode[], groups: DrawGroup[], camera: Camera, time: number): void {
    const context = this.above.getContext("2d", { alpha: Boolean(this.painter) });
    if (!context) return;
    const ratio = this.above.width / this.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colour("bg");
    if (this.painter) context.clearRect(0, 0, this.width, this.height);
    else context.fillRect(0, 0, this.width, this.height);
    const thin = edgeCount > kThinFrom;
    this.drawGroups(context, groups, camera);
    if (this.painter) {
      if (fresh) this.painter.upload(edges.subarray(0, edgeCount * kEdgeFloats));
      this.painter.draw(edgeCount, camera, this.width, this.height, time, thin);
    } else {
      this.drawLines(context, edges, edgeCount, camera, thin);
    }
    this.drawNodes(context, nodes, camera);
  }

  // Lines of one look are one path; hair-thin ones are what the processor draws fastest.
  private drawLines(context: CanvasRenderingContext2D, edges: Float32Array, count: number, camera: Camera, thin: boolean): void {
    const looks = new Map<string, number[]>();
    for (let i = 0; i < count; ++i) {
      const e = i * kEdgeFloats;
      const alpha = edges[e + 11]!;
      if (alpha === 0) continue;
      const look = `${thin ? 1 : Math.round(edges[e + 6]! * 4) / 4} ${thin ? 0 : edges[e + 7]!} rgba(${Math.round(edges[e + 8]! * 255)},${Math.round(edges[e + 9]! * 255)},${Math.round(edges[e + 10]! * 255)},${alpha.toFixed(2)})`;
      const same = looks.get(look);
      if (same) same.push(e); else looks.set(look, [e]);
    }
    for (const [look, list] of looks) {
      const [width, dash, ...rest] = look.split(" ");
      context.strokeStyle = context.fillStyle = rest.join(" ");
      context.lineWidth = Number(width);
      context.setLineDash(dash === "1" ? [6, 4] : []);
      context.beginPath();
      const heads: [number, number, number, number][] = [];
      for (const e of list) {
        let ax = edges[e]! * camera.scale + camera.x, ay = edges[e + 1]! * camera.scale + camera.y;
        let bx = edges[e + 2]! * camera.scale + camera.x, by = edges[e + 3]! * camera.scale + camera.y;
        if (!thin) {
          const gap = Math.hypot(bx - ax, by - ay) || 1, dx = (bx - ax) / gap, dy = (by - ay) / gap;
          ax += dx * edges[e + 4]! - dy * 3; ay += dy * edges[e + 4]! + dx * 3;
          bx -= dx * (edges[e + 5]! + 8) + dy * 3; by -= dy * (edges[e + 5]! + 8) - dx * 3;
          heads.push([bx, by, dx, dy]);
        }
        context.moveTo(ax, ay);
        context.lineTo(bx, by);
      }
      context.stroke();
      if (heads.length === 0) continue;
      context.beginPath();
      for (const [x, y, dx, dy] of heads) {
        context.moveTo(x - dy * 4, y + dx * 4);
        context.lineTo(x + dx * 8, y + dy * 8);
        context.lineTo(x + dy * 4, y - dx * 4);
      }
      context.fill();
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
    const named: { node: DrawNode; x: number; y: number }[] = [];
    for (const node of visible) {
      const x = node.x * camera.scale + camera.x, y = node.y * camera.scale + camera.y;
      const radius = Math.round(node.radius * Math.min(1.25, Math.max(0.4, camera.scale)) * 2) / 2;
      context.globalAlpha = node.faded ? 0.22 : 1;
      const shape = this.sprite(`${node.shape} ${radius} ${node.fill} ${node.ring} ${panel}`, radius * 2.5 + 8, radius * 2 + 8, (brush, w, h) => {
        brush.beginPath();
        if (node.shape === "disc") brush.arc(w / 2, h / 2, radius, 0, 6.2832);
        else if (node.shape === "square") brush.roundRect(w / 2 - radius, h / 2 - radius, radius * 2, radius * 2, radius * 0.35);
        else brush.roundRect(w / 2 - radius * 1.25, h / 2 - radius * 0.8, radius * 2.5, radius * 1.6, radius * 0.8);
        brush.fillStyle = node.shape === "cloud" ? panel : node.fill;
        brush.fill();
        brush.lineWidth = node.ring ? 2.5 : 1.5;
        brush.strokeStyle = node.ring || (node.shape === "cloud" ? node.fill : panel);
        brush.stroke();
      });
      context.drawImage(shape.image, x - shape.width / 2, y - shape.height / 2, shape.width, shape.height);
      if (!node.faded && (node.weight >= least || node.ring)) named.push({ node, x, y: y + radius });
    }
    context.globalAlpha = 1;
    // The busiest first; a name that would cover another is left out.
    named.sort((a, b) => b.node.weight - a.node.weight);
    const taken: [number, number, number, number][] = [];
    for (const { node, x, y } of named) {
      const name = this.text(node.label, kNameFont, text, panel);
      const [left, right, top, bottom] = [x - name.width / 2, x + name.width / 2, y + 3, y + 3 + name.height];
      if (!node.ring && taken.some((one) => left < one[1] && right > one[0] && top < one[3] && bottom > one[2])) continue;
      taken.push([left, right, top, bottom]);
      context.drawImage(name.image, left, top, name.width, name.height);
      if (!node.detail || camera.scale <= 0.75) continue;
      const detail = this.text(node.detail, kDetailFont, muted, panel);
      context.drawImage(detail.image, x - detail.width / 2, y + 18, detail.width, detail.height);
    }
  }

  // Outlined text is slow to draw, its picture is not.
  private text(text: string, font: string, fill: string, halo: string): Sprite {
    this.measure.font = font;
    return this.sprite(`${text}\n${font} ${fill} ${halo}`, this.measure.measureText(text).width + 8, 18, (brush, w) => {
      brush.font = font;
      brush.textAlign = "center";
      brush.textBaseline = "top";
      brush.lineWidth = 3;
      brush.lineJoin = "round";
      brush.strokeStyle = halo;
      brush.strokeText(text, w / 2, 2);
      brush.fillStyle = fill;
      brush.fillText(text, w / 2, 2);
    });
  }

  private sprite(key: string, width: number, height: number, draw: (brush: CanvasRenderingContext2D, width: number, height: number) => void): Sprite {
    const known = this.sprites.get(key);
    if (known) return known;
    if (this.sprites.size >= kSprites) this.sprites.clear();
    const image = document.createElement("canvas");
    image.width = Math.ceil(width * this.ratio);
    image.height = Math.ceil(height * this.ratio);
    const made = { image, width: image.width / this.ratio, height: image.height / this.ratio };
    const brush = image.getContext("2d", { willReadFrequently: true }); // small: the processor draws it quicker
    if (brush) {
      brush.scale(this.ratio, this.ratio);
      draw(brush, made.width, made.height);
    }
    this.sprites.set(key, made);
    return made;
  }
}
