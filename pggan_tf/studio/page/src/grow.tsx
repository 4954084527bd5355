/** Grow: what is learned, from which photos, for how long; what comes of it; and what waits to be grown. */
import { useEffect, useState } from "preact/hooks";
import { call, say } from "./api";
import { Choices } from "./grow-options";
import { Headline, PlanView } from "./grow-plan";
import { Queue } from "./queue";
import { addressOf, go, type Route, setQuery } from "./route";
import { RecipePicture } from "./recipe-picture";
import type { Entry, Plan, Recipe, Studio } from "./types";
import { Field, Problem, Segments, Slider, Switch, useLater } from "./widgets";
import { duration, plural } from "./words";
import { listen } from "./live";
import { grows, OPTION, readWish } from "./wish";

const MINUTES = [1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1440, 2880, 4320, 10080];
const FIRST_RECIPES = ["pggan", "colorize", "srgan", "translate", "recolor", "pggan-paper"];

export function Grow({ studio, route }: { studio: Studio; route: Route }) {
  const wish = readWish(route.query, studio);
  const [answer, setAnswer] = useState<{ plan: Plan | null; error: string | null; busy: boolean }>({ plan: null, error: null, busy: true });
  const [problem, setProblem] = useState<string | null>(null);
  const [sending, setSending] = useState(false);
  const [again, setAgain] = useState(0);
  const asked = useLater(JSON.stringify({ ...wish, name: null }), 300);
  useEffect(() => listen("plan", () => setAgain((n) => n + 1)), []);
  useEffect(() => {
    const control = new AbortController();
    setAnswer((before) => ({ ...before, busy: true }));
    call<Plan>("POST", "/api/plan", JSON.parse(asked), control.signal)
      .then((plan) => setAnswer({ plan, error: null, busy: false }))
      .catch((error) => say(error) && setAnswer({ plan: null, error: say(error), busy: false }));
    return () => control.abort();
  }, [asked, again]);

  const start = async () => {
    setSending(true);
    try {
      const entry = await call<Entry>("POST", "/api/queue", wish);
      setProblem(null);
      go(addressOf("watch", entry.run ?? ""));
    } catch (error) {
      setProblem(say(error));
    }
    setSending(false);
  };
  const setOption = (name: string, value: unknown) =>
    setQuery({ [OPTION + name]: value === null ? null : typeof value === "boolean" ? (value ? "1" : "0") : String(value) });
  const folder = studio.folders.find((f) => f.id === wish.data);
  const size = route.query.get("target_res") ?? "auto";
  const fits = wish.minutes !== null && grows(studio.recipes.find((r) => r.name === wish.recipe));
  const index = wish.minutes === null ? MINUTES.length : Math.max(0, MINUTES.findIndex((m) => m >= wish.minutes!));

  const button = <button type="button" class="primary large" disabled={sending || !!answer.error} onClick={start}>{sending ? "One moment …" : "Grow"}</button>;
  return (
    <div class="split grow">
      <div class="stage">
        <section class="card" aria-labelledby="from">
          <h2 id="from">From which photos</h2>
          <div class="row">
            <Field label="Photos">
              <select value={wish.data} onChange={(e) => setQuery({ data: e.currentTarget.value })}>
                {studio.folders.map((f) => <option value={f.id}>{f.name}{f.photos === null ? "" : ` (${plural(f.photos, "photo")})`}</option>)}
                <option value="portraits">Drawn portraits, to try it out</option>
              </select>
            </Field>
            <Field label="Name of the run" hint=""><input type="text" value={wish.name ?? ""} placeholder={folder?.name ?? "portraits"} maxLength={60} onInput={(e) => setQuery({ name: e.currentTarget.value })} /></Field>
          </div>
          {folder ? <Switch label="Only the faces" hint="cut out of the photos as the panel Photos shows them" value={wish.faces} onChange={(faces) => setQuery({ faces: faces ? 1 : null })} />
            : <p class="hint">Portraits drawn by a program: no photo is needed. <a href="#photos">Open a folder of your own</a> for more.</p>}
        </section>
        <section class="card" aria-labelledby="what">
          <h2 id="what">What it learns</h2>
          <Recipes recipes={studio.recipes} chosen={wish.recipe} />
        </section>
        <section class="card" aria-labelledby="long">
          <h2 id="long">How long, how large</h2>
          <Slider label="Time" value={index} minimum={0} maximum={MINUTES.length} shown={wish.minutes === null ? "as long as the recipe says" : duration(60 * wish.minutes)}
            marks={["1 min", "20 min", "3 h", "a week"]} onInput={(i) => setQuery({ minutes: MINUTES[i] ?? "end" })} />
          <Segments label="Size in pixels" value={size} onChange={(size) => setQuery({ target_res: size === "auto" ? null : size })}
            choices={["auto", "8", "16", "32", "64", "128", "256"].map((value) => ({ value, label: value === "auto" ? (fits ? "what fits" : "usual") : value, hint: value !== "auto" ? undefined : fits ? "the largest for which the time suffices" : "that of the recipe" }))} />
          <Segments label="Shape" value={wish.shape ?? "1:1"} onChange={(shape) => setQuery({ shape: shape === "1:1" ? null : shape })}
            choices={["1:1", "3:4", "4:3", "2:3", "auto"].map((value) => ({ value, label: value }))} />
        </section>
        <section class="card" aria-labelledby="options">
          <h2 id="options">Options</h2>
          <Choices options={studio.options} recipe={studio.recipes.find((r) => r.name === wish.recipe)} values={wish.options} set={setOption} />
        </section>
      </div>
      <aside class="controls sticky" aria-label="What comes of it">
        <PlanView plan={answer.plan} error={answer.error} busy={answer.busy}>
          {button}
          <Problem text={problem} />
        </PlanView>
        <Queue />
      </aside>
      <div class="go-bar">{answer.plan && !answer.error && <Headline plan={answer.plan} />}{button}</div>
    </div>
  );
}

function Recipes({ recipes, chosen }: { recipes: Recipe[]; chosen: string }) {
  const rank = (recipe: Recipe) => (FIRST_RECIPES.indexOf(recipe.name) + 1 || FIRST_RECIPES.length + 1);
  const sorted = [...recipes].sort((a, b) => rank(a) - rank(b));
  const first = sorted.filter((r) => rank(r) <= FIRST_RECIPES.length);
  const rest = sorted.filter((r) => rank(r) > FIRST_RECIPES.length);
  const paper = recipes.find((recipe) => recipe.name === chosen)?.paper;
  const card = (recipe: Recipe) => (
    <label class="recipe">
      <input type="radio" name="recipe" class="unseen" checked={recipe.name === chosen} onChange={() => setQuery({ recipe: recipe.name === "pggan" ? null : recipe.name })} />
      <RecipePicture recipe={recipe} />
      <span class="title">{recipe.title}</span>
      <span class="hint">{recipe.sentence}</span>
    </label>
  );
  return (
    <fieldset class="recipes">
      <legend class="unseen">Recipe</legend>
      <div>{first.map(card)}</div>
      {paper && <p class="hint">Published in <a href={paper} target="_blank" rel="noreferrer">{paper.replace("https://", "")}</a></p>}
      {rest.length > 0 && <details open={rest.some((r) => r.name === chosen)}><summary>{rest.length} more recipes</summary><div>{rest.map(card)}</div></details>}
    </fieldset>
  );
}
