// The page: tabs for the networks that the site has, loading, messages, and working offline.

import { Model, Problem } from "./runtime.js";
import { faces, upper } from "./faces.js";
import { photo } from "./photo.js";

const PANELS = {
  generate: { open: faces },
  colorize: { tab: "Colorize", open: photo },
  recolor: { tab: "Recolor", open: photo },
  upscale: { tab: "Upscale", open: photo },
  translate: { tab: "Translate", open: photo },
};
/** What a tab is called: of a generator, what it draws. */
const named = ({ task, subject }) => (task === "generate" ? `${upper(subject)}s` : PANELS[task].tab);
const $ = (id) => document.getElementById(id);
const tablist = document.querySelector("[role=tablist]");
const opening = new Map(); // task -> the promise that its panel is open
const panels = new Map(); // task -> its panel, once loaded
const addresses = new Map(); // task -> what the address said while it was open
let models = []; // of the site
let chosen;

function show(error) {
  if (!(error instanceof Problem)) console.info(error);
  $("problem").textContent = error instanceof Problem ? error.message : `Something went wrong: ${error.message ?? error}`;
  $("problem").hidden = false;
  $("loading").hidden = true;
}

async function choose(site, task) {
  chosen = task;
  $("title").textContent = models.find((entry) => entry.task === task).title;
  for (const tab of tablist.children) {
    tab.setAttribute("aria-selected", tab.dataset.task === task);
    tab.tabIndex = tab.dataset.task === task ? 0 : -1;
  }
  panels.forEach((panel, name) => {
    panel.hidden = name !== task;
    if (panel.hidden) panel.dispatchEvent(new Event("leave"));
  });
  $("problem").hidden = true;
  $("status").textContent = "";
  $("loading").hidden = panels.has(task);
  if (panels.has(task)) return;
  $("progress").value = 0;
  if (!opening.has(task)) opening.set(task, open(site, task));
  try {
    await opening.get(task);
  } catch (error) {
    opening.delete(task);
    if (chosen === task) show(error);
  } finally {
    if (chosen === task) $("loading").hidden = true;
  }
}

async function open(site, task) {
  const entry = site.models.find((model) => model.task === task);
  const model = await Model.open(site, entry, (share) => chosen === task && ($("progress").value = share));
  const panel = document.createElement("section");
  panel.role = "tabpanel";
  panel.id = `panel-${task}`;
  panel.setAttribute("aria-label", named(entry));
  panel.hidden = chosen !== task;
  panels.set(task, panel);
  document.querySelector("main").append(panel);
  try {
    await PANELS[task].open(panel, model, (text) => chosen === task && ($("status").textContent = text));
  } catch (error) {
    panel.remove();
    panels.delete(task);
    throw error;
  }
  keep();
}

/** What was loaded so far is kept for later visits without a network; once a panel has its model, the others' are brought too. */
async function keep() {
  const worker = (await navigator.serviceWorker?.ready)?.active;
  const others = panels.size && !navigator.connection?.saveData ? models : [];
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  worker?.postMessage([...loaded, ...others.map(({ file }) => new URL(file, location.href).href)]);
}

async function start() {
  navigator.serviceWorker?.register("sw.js").catch((error) => console.info("no offline use:", error));
  navigator.serviceWorker?.addEventListener("controllerchange", keep); // a new version keeps by itself
  // A photo that is dropped beside its panel must not replace the page.
  for (const event of ["dragover", "drop"]) addEventListener(event, (dropped) => dropped.preventDefault());
  $("insecure").hidden = self.isSecureContext;
  const response = await fetch("site.json").catch(() => null);
  if (!response?.ok) throw new Problem("site.json could not be loaded. Check the connection, then reload this page.");
  const site = await response.json();
  ({ models } = site);
  /** Remembers the address, if the panel has no newer one than is shown. */
  const leave = (shown) => addresses.set(chosen, panels.get(chosen)?.dataset.address ?? shown);
  for (const entry of site.models) {
    const { task, about } = entry;
    const tab = document.createElement("button");
    Object.assign(tab, { role: "tab", textContent: named(entry), title: about });
    tab.dataset.task = task;
    tab.setAttribute("aria-controls", `panel-${task}`);
    tab.onclick = () => {
      // The address says which tab is open, for a reload or a bookmark, and what it showed before.
      leave(location.hash);
      history.replaceState(null, "", addresses.get(task) ?? `#panel=${task}`);
      choose(site, task);
    };
    tablist.append(tab);
  }
  tablist.hidden = site.models.length < 2;
  tablist.onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const tabs = [...tablist.children];
    const next = tabs[(tabs.findIndex((tab) => tab.dataset.task === chosen) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  };
  const asked = () => {
    const panel = new URLSearchParams(location.hash.slice(1)).get("panel");
    return site.models.some(({ task }) => task === panel) ? panel : site.models[0].task;
  };
  addEventListener("hashchange", ({ oldURL }) => {
    leave(new URL(oldURL).hash);
    choose(site, asked());
  });
  await choose(site, asked());
}

start().catch(show);
