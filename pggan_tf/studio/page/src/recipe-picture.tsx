/** A small drawing of what a recipe does: the same portrait before and after. */
import type { Recipe, Task } from "./types";

const AT: Record<Task, number> = { generate: 0, colorize: 1, recolor: 2, upscale: 3, translate: 4 };

/** The drawings lie below each other in one file, which docs/make_studio_pictures.py makes of drawn portraits. */
export function RecipePicture({ recipe }: { recipe: Recipe }) {
  const row = recipe.task === "generate" && recipe.options["network"] === "dcgan" ? 5 : AT[recipe.task] ?? 0;
  return <span class="picture" aria-hidden="true"><img src="/static/tasks.webp" alt="" style={{ "--row": row }} loading="lazy" /></span>;
}
