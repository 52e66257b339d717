// What the server sends: see loopData in ../../study.go.

import type { Corrections } from "./corrections";

export type Point = [number, number];

export interface Beat { ed: number; es: number; next_ed: number; rejected?: Reason }
export interface Reason { code: string; text: string }
export interface Keypoint { name: string; x: number; y: number; confidence: number }

export interface Found {
  frame: number;
  contour?: Point[];
  structures?: Record<string, Point[]>;
  points?: Keypoint[];
  axis?: [Point, Point, Point]; // apex, hinge points
  network?: Point[]; // where a reader has corrected it
  before?: Keypoint[]; // the network's points of the parasternal view, where a reader has placed them
}

export interface Caliper { frame: number; a: Point; b: Point }

export interface Curve { kind: "volume" | "area" | "pixels"; unit: string; values: (number | null)[] }

export interface Loop {
  loop: string;
  view: string;
  stage?: string;
  frames: number;
  rows: number;
  columns: number;
  times?: number[];
  rwaves?: number[];
  pixel: Point;
  mm: boolean;
  beats?: Beat[];
  curve?: Curve;
  found?: Found[];
  region?: { min_x: number; min_y: number; max_x: number; max_y: number };
  status: string;
  reason?: string;
  remarks?: Reason[];
  decided?: { calipers?: Caliper[] };
}

export interface Study { study: string; base: number; may: boolean; loops: Loop[]; earlier?: Corrections }
