import type { Found, FrameCorrection, Keypoint, Point } from "./types";

/**
 * Points that may be dragged: landmarks, and places on the walls between them, at an arc length of the outline; of the
 * parasternal view the points themselves, by their number.
 */
export interface Handle { at: Point; kind: "apex" | "septal" | "lateral" | "wall" | "point"; arc: number }

/** What a reader may drag in a frame: the cavity's outline, or the points of the walls. */
export interface Shape {
  readonly frame: number;
  readonly handles: Handle[];
  /** Moves with a handle of what was there when it was taken hold of. */
  drag(from: Shape, handle: Handle, by: Point): void;
  copy(): Shape;
  correction(): FrameCorrection;
}

const wallHandles = 12;

function length(a: Point, b: Point): number { return Math.hypot(a[0] - b[0], a[1] - b[1]); }

/** Arc length of every point of a closed contour, and of the whole. */
function arcs(c: readonly Point[]): { at: number[]; total: number } {
  const at: number[] = [];
  let sum = 0;
  c.forEach((p, i) => {
    at.push(sum);
    sum += length(p, c[(i + 1) % c.length]!);
  });
  return { at, total: sum };
}

/** The place on a contour that is nearest to a point, by its arc length. */
function nearest(c: readonly Point[], p: Point): number {
  const { at } = arcs(c);
  let best = 0, distance = Infinity;
  c.forEach((a, i) => {
    const b = c[(i + 1) % c.length]!;
    const l = length(a, b) || 1e-9;
    const u = Math.min(1, Math.max(0, ((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) / (l * l)));
    const d = length(p, [a[0] + u * (b[0] - a[0]), a[1] + u * (b[1] - a[1])]);
    if (d < distance) { distance = d; best = at[i]! + u * l; }
  });
  return best;
}

function pointAt(c: readonly Point[], arc: number): Point {
  const { at, total } = arcs(c);
  arc = ((arc % total) + total) % total;
  let i = at.findIndex((a) => a > arc);
  i = (i < 0 ? c.length : i) - 1;
  const a = c[i]!, b = c[(i + 1) % c.length]!, l = length(a, b) || 1e-9;
  const u = (arc - at[i]!) / l;
  return [a[0] + u * (b[0] - a[0]), a[1] + u * (b[1] - a[1])];
}

function within(p: Point, size: Point): Point {
  return [Math.min(Math.max(p[0], 0), size[0] - 1), Math.min(Math.max(p[1], 0), size[1] - 1)];
}

function rounded(p: Point): Point { return [Math.round(p[0] * 1000) / 1000, Math.round(p[1] * 1000) / 1000]; }

/** The points of the parasternal long axis, along the line from the right ventricle to the posterior wall. */
export const wallPoints = ["ivs_right", "ivs_left", "pw_inner", "pw_outer"] as const;

/** Points by the names of wallPoints; undefined where one is missing. */
export function wallOf(points: readonly Keypoint[] | undefined): Point[] | undefined {
  const out = wallPoints.map((name) => points?.find((k) => k.name === name)).filter((k) => k !== undefined);
  return out.length === wallPoints.length ? out.map((k): Point => [k.x, k.y]) : undefined;
}

/** The four wall points of a frame of the parasternal view while they are edited. */
export class Walls implements Shape {
  points: Point[];

  constructor(readonly frame: number, found: Found | undefined, readonly size: Point) {
    // Where the network found none they wait in the middle of the picture.
    this.points = wallOf(found?.points) ?? wallPoints.map((_, i): Point => [size[0] / 2, size[1] * (0.35 + 0.1 * i)]);
  }

  get handles(): Handle[] { return this.points.map((at, i): Handle => ({ at, kind: "point", arc: i })); }

  drag(from: Walls, handle: Handle, by: Point): void {
    this.points = from.points.map((p, i) => i === handle.arc ? within([p[0] + by[0], p[1] + by[1]], this.size) : p);
  }

  copy(): Walls {
    const w = new Walls(this.frame, undefined, this.size);
    w.points = this.points.map((p): Point => [p[0], p[1]]);
    return w;
  }

  correction(): FrameCorrection {
    return { frame: this.frame, wall_points: Object.fromEntries(this.points.map((p, i) => [wallPoints[i]!, rounded(p)])) };
  }
}

/** The outline of a frame while it is edited. */
export class Outline implements Shape {
  contour: Point[];
  apex: Point | undefined;
  septal: Point | undefined;
  lateral: Point | undefined;

  /** size is that of the picture, columns and rows: nothing is dragged out of it. */
  constructor(readonly frame: number, found: Found, readonly size: Point) {
    this.contour = (found.contour ?? []).map((p): Point => [p[0], p[1]]);
    const point = (name: string): Point | undefined => {
      const k = found.points?.find((q) => q.name === name);
      return k && k.confidence >= 0.3 ? [k.x, k.y] : undefined;
    };
    // The axis says which points were measured with; a point that was not sure enough is taken from there.
    const [apex, a, b] = found.axis ?? [];
    this.apex = apex ? [apex[0], apex[1]] : point("apex");
    const septal = point("mitral_septal"), lateral = point("mitral_lateral");
    if (a && b) {
      const swap = septal && lateral ? length(a, septal) + length(b, lateral) > length(a, lateral) + length(b, septal) : false;
      this.septal = swap ? [b[0], b[1]] : [a[0], a[1]];
      this.lateral = swap ? [a[0], a[1]] : [b[0], b[1]];
    } else {
      this.septal = septal;
      this.lateral = lateral;
    }
  }

  get handles(): Handle[] {
    if (this.contour.length < 3) return [];
    const out: Handle[] = [];
    for (const kind of ["septal", "apex", "lateral"] as const) {
      const p = this[kind];
      if (p) out.push({ at: p, kind, arc: nearest(this.contour, p) });
    }
    const { total } = arcs(this.contour);
    for (let i = 0; i < wallHandles; i++) {
      const arc = (total * (i + 0.5)) / wallHandles;
      if (out.some((h) => h.kind !== "wall" && apart(h.arc, arc, total) < total / wallHandles / 3)) continue;
      out.push({ at: pointAt(this.contour, arc), kind: "wall", arc });
    }
    return out;
  }

  /**
   * Moves the outline with a handle: what lies near it on the contour follows,
   * less and less, up to the handles beside it and a little beyond.
   */
  drag(from: Outline, handle: Handle, by: Point): void {
    const { at, total } = arcs(from.contour);
    const reach = (1.6 * total) / wallHandles;
    this.contour = from.contour.map((p, i): Point => {
      const d = apart(at[i]!, handle.arc, total) / reach;
      const w = d < 1 ? 0.5 * (1 + Math.cos(Math.PI * d)) : 0;
      return w > 0 ? this.inside([p[0] + w * by[0], p[1] + w * by[1]]) : p;
    });
    for (const kind of ["apex", "septal", "lateral"] as const) {
      const p = from[kind];
      if (!p) continue;
      if (kind === handle.kind) {
        this[kind] = this.inside([p[0] + by[0], p[1] + by[1]]);
        continue;
      }
      const d = apart(nearest(from.contour, p), handle.arc, total) / reach;
      const w = handle.kind === "wall" && d < 1 ? 0.5 * (1 + Math.cos(Math.PI * d)) : 0;
      this[kind] = w > 0 ? this.inside([p[0] + w * by[0], p[1] + w * by[1]]) : p;
    }
  }

  private inside(p: Point): Point { return within(p, this.size); }

  copy(): Outline {
    const o = new Outline(this.frame, { frame: this.frame, contour: this.contour }, this.size);
    o.apex = this.apex && [...this.apex];
    o.septal = this.septal && [...this.septal];
    o.lateral = this.lateral && [...this.lateral];
    return o;
  }

  correction(): FrameCorrection {
    return {
      frame: this.frame, contour: this.contour.map(rounded),
      ...(this.apex ? { apex: rounded(this.apex) } : {}), ...(this.septal ? { septal: rounded(this.septal) } : {}), ...(this.lateral ? { lateral: rounded(this.lateral) } : {}),
    };
  }
}

function apart(a: number, b: number, total: number): number {
  const d = Math.abs(a - b) % total;
  return Math.min(d, total - d);
}
