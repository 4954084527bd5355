// The page: a tab for each network of the site, loading, messages, and use without a network.

import { Model, Problem } from "./runtime.js";
import { faces } from "./faces.js";
import { photo } from "./photo.js";
import { inApp } from "./device.js";

const PANELS = { faces, photo }; // by their names in site.json
const $ = (id) => document.getElementById(id);
const tablist = document.querySelector("[role=tablist]");
const opening = new Map(); // task -> the promise that its panel is open
const panels = new Map(); // task -> its panel, once loaded
const addresses = new Map(); // task -> the address while it was open
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
  panel.setAttribute("aria-label", entry.tab);
  panel.hidden = chosen !== task;
  panels.set(task, panel);
  document.querySelector("main").append(panel);
  try {
    await PANELS[entry.panel](panel, model, (text) => chosen === task && ($("status").textContent = text));
  } catch (error) {
    panel.remove();
    panels.delete(task);
    throw error;
  }
  keep();
}

/** Store the files that were loaded, for later visits without a network; and all models, once a panel is open. */
async function keep() {
  const worker = (await navigator.serviceWorker?.ready)?.active;
  const others = panels.size && !navigator.connection?.saveData ? models : [];
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  worker?.postMessage([...loaded, ...others.map(({ file }) => new URL(file, location.href).href)]);
}

async function start() {
  if (!inApp) navigator.serviceWorker?.register("sw.js").catch((error) => console.info("no offline use:", error));
  navigator.serviceWorker?.addEventListener("controllerchange", keep); // a new version has a store of its own
  // A photo that is dropped beside its panel must not replace the page.
  for (const event of ["dragover", "drop"]) addEventListener(event, (dropped) => dropped.preventDefault());
  $("insecure").hidden = self.isSecureContext;
  const response = await fetch("site.json").catch(() => null);
  if (!response?.ok) throw new Problem("site.json could not be loaded. Check the connection, then reload this page.");
  const site = await response.json();
  ({ models } = site);
  /** Remember the panel's address, or the one that is shown if the panel has none. */
  const leave = (shown) => addresses.set(chosen, panels.get(chosen)?.dataset.address ?? shown);
  for (const entry of site.models) {
    const { task, about } = entry;
    const tab = document.createElement("button");
    Object.assign(tab, { role: "tab", textContent: entry.tab, title: about });
    tab.dataset.task = task;
    tab.setAttribute("aria-controls", `panel-${task}`);
    tab.onclick = () => {
      // The address names the open tab and its state, for reloads and bookmarks.
      leave(location.hash);
      // An app's back button goes back to the tab before.
      history[inApp && task !== chosen ? "pushState" : "replaceState"](null, "", addresses.get(task) ?? `#panel=${task}`);
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
