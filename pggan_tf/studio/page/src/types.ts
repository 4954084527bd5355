/** What the server sends; see the module pggan_tf.studio for where it comes from. */

export interface Folder { id: string; path: string; name: string; photos: number | null }
export interface Recipe { name: string; title: string; sentence: string; paper: string | null; task: Task; options: Record<string, unknown> }
export interface Option {
  name: string; group: string; kind: "number" | "choice" | "text" | "switch"; default: unknown; choices: string[];
  minimum: number | null; maximum: number | null; help: string; first: boolean;
}
export interface Format { name: string; title: string; sentence: string; available: boolean; missing: string | null }
export interface Machine { cores: number; memory_gb: number; gpus: string[]; precision: string }
export interface Studio {
  version: string; runs_folder: string; machine: Machine; folders: Folder[]; recipes: Recipe[]; options: Option[]; formats: Format[];
}
export type Task = "generate" | "colorize" | "recolor" | "upscale" | "translate";

export interface Browse { path: string; parent: string | null; roots: string[]; folders: { name: string; path: string; photos: number | null }[] }
export interface Reason { reason: string; sentence: string; count: number }
export interface Look {
  total: number; kept: number; left_out: Reason[]; duplicates: number; classes: { name: string; count: number }[];
  shapes: string; largest: number; faces: number | null; doubtful: number; parameters: LookParameters;
}
export interface LookParameters { size: number; shape: string; crop: string; faces: boolean; margin: number; least: number | null }
export interface FolderDetail extends Folder { look: Look | null }
export type Box = [number, number, number, number];
export interface Face { box: Box; crop?: Box | null; confidence: number; used: boolean }
export interface Photo {
  index: number; name: string; width: number | null; height: number | null; state: "kept" | "left_out"; reason: string | null; class: string | null;
  same_as: number[]; faces: Face[]; crop: Box | null; by_hand: boolean; cropped: boolean; doubt?: string | null;
}
export interface PhotoPage { pages: number; total: number; photos: Photo[] }

export interface Wish {
  name: string | null; data: string; faces: boolean; recipe: string; minutes: number | null; target_res: number | string | null; shape: string | null;
  options: Record<string, unknown>;
}
export interface PlanPhase { resolution: number; fade: boolean; images: number; minutes: number | null }
export interface Plan {
  command: string; unwritten: boolean; text: string; resolution: number; size?: string; images: number; photos: number | null; phases: PlanPhase[];
  parameters: { generator: number; discriminator: number } | null; preview: { picture: string | null; sentence: string }; warnings: string[];
}
export interface Entry { id: string; title: string; command: string; state: "waiting" | "running" | "failed" | "interrupted"; run: string | null; error: string | null; text?: string | null; kind?: "train" | "go-on"; stopping?: boolean; wish?: Partial<Wish> | null }

export type RunState = "waiting" | "running" | "paused" | "interrupted" | "done" | "failed";
export interface Run {
  name: string; title: string; recipe: string; task: Task; state: RunState; images: number; of: number; resolution: number | null;
  seconds_left: number | null; minutes: number; picture: string | null; error: string | null; pretrained?: boolean; stopping?: boolean;
  place: string; // its folder, as a shell takes it
}
export interface Grid { images: number; resolution: number; url: string }
export interface Advice { state: string; sentence: string; options: string[]; others: string[] }
export interface Measurement { images: number; minutes: number; value: number }
export interface RunDetail extends Run {
  config: Record<string, unknown>; asked: Record<string, unknown>; command: string; stages: number[];
  phase: { resolution: number; fade: boolean; alpha: number } | null; parameters: { generator: number; discriminator: number } | null;
  grids: Grid[]; reals: { resolution: number; url: string }[]; ticks: Record<string, (number | null)[]>;
  metrics: Record<string, Measurement[]>; coach: Advice[]; log: string[]; caveats: { metric: string; sentence: string }[]; data?: string;
  aspect?: [number, number]; saved?: boolean;
}
export interface GeneratorInfo { task: Task; stages: number[]; classes: string[]; latent_size: number | null; scale: number | null; hints: boolean }
export interface SliderInfo { index: number; name: string | null; strip: string | null }

export interface Job<R = unknown> {
  id: string; kind: string; title: string; state: "running" | "done" | "failed" | "cancelled"; done: number; total: number | null;
  text: string; result: R | null; error: string | null; run?: string; format?: string;
}
/** cpu and use: shares from 0 to 1; memory: what is used, in GB; null: not told. */
export interface MachineNow { cpu: number; memory: number; gpu: { use: number | null; memory: number | null; total: number | null } | null }
export interface FileLink { name: string; bytes: number; url: string }
export interface Exported { files: FileLink[]; parity: string; at: number }
/** Something that was made of a run; what else is known about it depends on its kind. */
export interface Thing {
  id: string; kind: "walk" | "nearest" | "project" | "convert"; at: number; bytes: number; files: FileLink[]; url: string;
  seeds?: string; seconds?: number; stage?: number; seed?: number; text?: string; name?: string; psnr?: number | null; psnr_before?: number | null;
  hints?: string[]; saturation?: number;
}
export interface Made { things: Thing[]; exports: Record<string, Exported> }
export interface Phone { address: string | null; qr: string | null }
export interface Compared {
  differences: { option: string; values: unknown[] }[];
  table: { name: string; values: unknown[]; best: number[] }[]; notes: string[]; titles: string[];
  series: Record<string, { run: string; images: number[]; minutes: number[]; values: (number | null)[] }[]>; sheets: (string | null)[];
}
