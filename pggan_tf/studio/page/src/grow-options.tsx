/** Options of a training: the dozen that people use, the others by group, folded. */
import { useState } from "preact/hooks";
import type { Option, Recipe } from "./types";
import { Typed } from "./widgets";
import { label, text } from "./words";

// These have controls of their own.
const OWN = new Set(["data", "recipe", "minutes", "target_res", "shape"]);

// What a recipe sets comes as text.
const isOn = (value: unknown) => value === true || ["true", "yes", "on", "1"].includes(String(value).toLowerCase());

interface Props { options: Option[]; recipe: Recipe | undefined; values: Record<string, unknown>; set: (name: string, value: unknown) => void }

export function Choices({ options, recipe, values, set }: Props) {
  const [search, setSearch] = useState("");
  const all = options.filter((o) => !OWN.has(o.name));
  const rest = all.filter((o) => !o.first);
  const matches = (o: Option) => !search || `${o.name} ${o.help}`.toLowerCase().includes(search.toLowerCase());
  const groups = [...new Set(rest.map((o) => o.group))];
  const changedRest = rest.filter((o) => o.name in values).length;
  const row = (o: Option) => <OptionRow key={o.name} option={o} usual={recipe?.options[o.name] ?? o.default} value={values[o.name]} set={(value) => set(o.name, value)} />;
  return (
    <>
      <div class="options">{all.filter((o) => o.first).map(row)}</div>
      <details class="rest">
        <summary>{rest.length} more options{changedRest ? `, ${changedRest} changed` : ""}</summary>
        <label class="field"><span class="unseen">Search options</span><input type="search" placeholder="Search" value={search} onInput={(e) => setSearch(e.currentTarget.value)} /></label>
        {groups.map((group) => {
          const those = rest.filter((o) => o.group === group && matches(o));
          return those.length ? <section><h3>{group}</h3><div class="options">{those.map(row)}</div></section> : null;
        })}
      </details>
    </>
  );
}

function OptionRow({ option, usual, value, set }: { option: Option; usual: unknown; value: unknown; set: (value: unknown) => void }) {
  const own = value !== undefined;
  const name = label(option.name);
  const said = { "aria-label": name, "aria-describedby": `help-${option.name}` };
  const usualText = usual === null || usual === undefined ? "worked out" : text(usual);
  const on = isOn(usual);
  let control;
  if (option.kind === "switch") {
    control = <input type="checkbox" role="switch" {...said} checked={own ? Boolean(value) : on} onChange={(e) => set(e.currentTarget.checked === on ? null : e.currentTarget.checked)} />;
  } else if (option.kind === "choice") {
    control = (
      <select {...said} value={own ? String(value) : ""} onChange={(e) => set(e.currentTarget.value || null)}>
        <option value="">{usualText} (usual)</option>
        {option.choices.filter((choice) => choice !== String(usual)).map((choice) => <option value={choice}>{choice}</option>)}
      </select>
    );
  } else {
    const number = option.kind === "number" ? { minimum: option.minimum ?? undefined, maximum: option.maximum ?? undefined } : undefined;
    control = <Typed {...said} placeholder={usualText} value={own ? String(value) : ""} number={number} commit={(typed) => set(typed === "" ? null : typed)} />;
  }
  return (
    <label class={`option ${own ? "own" : ""} ${option.kind}`}>
      <span class="name">{name}</span>
      {control}
      <span class="hint" id={`help-${option.name}`}>{option.help}</span>
    </label>
  );
}
