// What the server sends: see loopData in ../../study.go.

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
  /** Of the object: its frames are asked for by it. */
  version: string;
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

/** Of which result a page is. */
export interface Basis { study: string; base: number; run: string; since: string }

export interface Study extends Basis { may: boolean; loops: Loop[]; earlier?: Corrections }

/** What a reader has changed, as the server takes it. */
export interface FrameCorrection { frame: number; contour?: Point[]; apex?: Point; septal?: Point; lateral?: Point; wall_points?: Record<string, Point> }
export type CaliperCorrection = Caliper;
export interface LoopCorrection { excluded?: boolean; view?: string; beats?: { ed: number; es: number }[]; frames?: FrameCorrection[]; calipers?: CaliperCorrection[] }
export interface Corrections { loops: Record<string, LoopCorrection> }
