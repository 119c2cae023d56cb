// What browsers have and the type library of TypeScript 4.8 does not know.
interface CanvasRenderingContext2D {
  roundRect(x: number, y: number, width: number, height: number, radii: number): void;
}
