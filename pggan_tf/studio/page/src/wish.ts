/** What is to be grown, as the address of the panel Grow holds it. */
import { addressOf } from "./route";
import type { Recipe, Studio, Wish } from "./types";

export const OPTION = "o."; // marks options in the address

/** Tell whether a recipe grows to what the time suffices for; others have a size of their own. */
export const grows = (recipe: Recipe | undefined) => recipe?.task === "generate" && !("network" in recipe.options || "target_res" in recipe.options || "resolutions" in recipe.options);

/** Read a wish from the address. */
export function readWish(query: URLSearchParams, studio: Studio): Wish {
  const options: Record<string, unknown> = {};
  for (const [key, value] of query) {
    if (!key.startsWith(OPTION)) continue;
    const option = studio.options.find((o) => o.name === key.slice(OPTION.length));
    if (option) options[option.name] = option.kind === "switch" ? value === "1" : option.kind === "number" ? Number(value) : value;
  }
  const size = query.get("target_res") ?? "auto";
  const minutes = query.get("minutes") ?? "20";
  const recipe = query.get("recipe") ?? "pggan";
  const fits = minutes !== "end" && grows(studio.recipes.find((r) => r.name === recipe));
  const data = query.get("data") ?? studio.folders.at(-1)?.id ?? "portraits";
  return {
    name: query.get("name") || null, data, faces: query.get("faces") === "1", recipe,
    minutes: minutes === "end" ? null : Number(minutes), target_res: size === "auto" ? (fits ? size : null) : /^\d+$/.test(size) ? Number(size) : size, shape: query.get("shape"), options,
  };
}

/** Return the address of the panel Grow on which a wish can be changed. */
export function addressOfWish(wish: Partial<Wish>): string {
  const written = (value: unknown) => (typeof value === "boolean" ? Number(value) : value === null || value === undefined ? null : String(value));
  const options = Object.entries(wish.options ?? {}).map(([name, value]) => [OPTION + name, written(value)]);
  return addressOf("grow", "", {
    data: wish.data, name: wish.name, faces: wish.faces ? 1 : null, recipe: wish.recipe === "pggan" ? null : wish.recipe, minutes: wish.minutes ?? "end",
    target_res: wish.target_res === "auto" ? null : wish.target_res, shape: wish.shape, ...Object.fromEntries(options),
  });
}
