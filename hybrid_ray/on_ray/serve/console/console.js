"use strict";

// Everything is asked of the server that sent this page; nothing is loaded from anywhere else.
const BASE = new URL("..", location.href);
const KEPT = 120;
const EVERY_MS = 2000;

const state = { row: null, columns: [], rates: [], latencies: [], last: null, versions: [] };
const element = (id) => document.getElementById(id);

function make(tag, options = {}, children = []) {
  const found = tag === "svg" || options.svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") found.textContent = value;
    else if (name === "svg") continue;
    else found.setAttribute(name, value);
  }
  found.append(...children);
  return found;
}

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  const token = sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(new URL(path, BASE), { ...options, headers });
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) element("access").hidden = false;
  if (!answer.ok) throw new Error(faults(body) || `${path} answered ${answer.status}`);
  return body;
}

function faults(body) {
  return (body.detail || []).map((each) => {
    const where = (each.loc || []).slice(2).filter((part) => typeof part === "string").join(".");
    return (where ? `${where}: ` : "") + each.msg;
  }).join("; ");
}

function send(method, path, value) {
  return ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
}

// ---------------------------------------------------------------- a prediction

function fieldOf(name, schema) {
  const types = [].concat(schema.type || []);
  let input;
  if (schema.contentEncoding === "base64") {
    input = make("input", { type: "file", accept: name.includes("audio") ? "audio/*" : "*/*" });
    const preview = make("img", { class: "preview", alt: "", hidden: "" });
    input.addEventListener("change", () => {
      const file = input.files[0];
      preview.hidden = !(file && file.type.startsWith("image/"));
      if (!preview.hidden) preview.src = URL.createObjectURL(file);
    });
    input.read = () => input.files[0] ? dataUrl(input.files[0]) : null;
    return [input, preview];
  }
  if (types.includes("array") || schema.anyOf) {
    input = make("textarea", { placeholder: JSON.stringify((schema.examples || [""])[0]) });
    input.read = () => {
      const text = input.value.trim();
      if (!text) return null;
      try { return JSON.parse(text); } catch { return text; }
    };
  } else if (types.includes("number") && !types.includes("string")) {
    input = make("input", { type: "number", step: "any" });
    input.read = () => input.value === "" ? null : Number(input.value);
  } else {
    input = schema.description === "Text." ? make("textarea") : make("input", { type: "text" });
    input.read = () => input.value === "" ? null : input.value;
  }
  if (!input.placeholder && schema.examples) input.placeholder = String(schema.examples[0] ?? "");
  return [input];
}

function dataUrl(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}

async function showForm() {
  const schema = await ask("openapi.json");
  element("model").textContent = `${schema.info.title}, version ${schema.info.version}`;
  document.title = `${schema.info.title} · hybrid_ray`;
  const content = schema.paths["/predict"].post.requestBody.content["application/json"].schema;
  const row = content.oneOf.find((each) => each.title === "Row");
  state.columns = Object.entries(row.properties).map(([name, cell]) => {
    const parts = fieldOf(name, cell);
    parts[0].name = name;
    return { name, input: parts[0], label: make("label", { text: `${name} ` }, parts) };
  });
  element("row").replaceChildren(...state.columns.map((column) => column.label));
}

async function rowOf() {
  const row = {};
  for (const { name, input } of state.columns) {
    const value = await input.read();
    if (value !== null) row[name] = value;
  }
  return row;
}

async function trying(work) {
  element("fault").textContent = "";
  const buttons = [element("predict"), element("explain")];
  buttons.forEach((button) => { button.disabled = true; });
  try {
    await work(await rowOf());
  } catch (error) {
    element("fault").textContent = error.message;
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

function bars(values, signed) {
  const entries = Object.entries(values);
  const most = Math.max(...entries.map(([, value]) => Math.abs(value)), 1e-12);
  const grid = make("div", { class: "bars" });
  for (const [name, value] of entries) {
    const width = (Math.abs(value) / most) * (signed ? 50 : 100);
    const left = signed ? (value < 0 ? 50 - width : 50) : 0;
    const bar = make("div", { class: value < 0 ? "bar down" : "bar", style: `left:${left}%;width:${width}%` });
    const told = signed ? (value < 0 ? "−" : "+") + short(Math.abs(value)) : short(value);
    grid.append(
      make("div", { class: "name", text: name }),
      make("div", { class: "track" }, [bar]),
      make("div", { class: "value", text: told }),
    );
  }
  return grid;
}

const short = (value) => Number(value).toLocaleString("en", { maximumSignificantDigits: 4 });

async function predict(row) {
  const body = await send("POST", "predict", { rows: [row] });
  const [answer] = body.predictions;
  const told = Array.isArray(answer.prediction) ? answer.prediction.map(short).join(", ") : String(answer.prediction);
  const parts = [make("h3", { text: `${told}` }), make("p", { class: "muted", text: `by version ${body.version}, request ${body.id}` })];
  if (answer.proba) {
    const sorted = Object.entries(answer.proba).sort((a, b) => b[1] - a[1]).slice(0, 10);
    parts.push(bars(Object.fromEntries(sorted), false));
  }
  element("answer").replaceChildren(...parts);
  element("why").replaceChildren();
}

async function explain(row) {
  const body = await send("POST", "explain", { rows: [row] });
  const [found] = body.explanations;
  const parts = [make("h3", { text: `Why ${found.output}: ${short(found.answer)}` })];
  for (const [level, title] of [["columns", "Columns"], ["modalities", "Modalities"], ["extractors", "Extractors"], ["members", "Members"]]) {
    if (!found[level] || !Object.keys(found[level].shares).length) continue;
    const shown = Object.entries(found[level].shares).slice(0, 12);
    parts.push(make("h3", { text: `${title}, from ${short(found[level].base)}` }), bars(Object.fromEntries(shown), true));
  }
  element("why").replaceChildren(...parts);
}

// ---------------------------------------------------------------- versions and traffic

function table(heads, rows) {
  const head = make("tr", {}, heads.map(([text, number]) => make("th", { text, class: number ? "number" : "" })));
  const body = rows.map((cells) => make("tr", {}, cells.map((cell, i) => {
    const found = make("td", { class: heads[i][1] ? "number" : "" });
    found.append(cell instanceof Node ? cell : String(cell));
    return found;
  })));
  return make("div", { class: "scroll" }, [make("table", {}, [make("thead", {}, [head]), make("tbody", {}, body)])]);
}

async function showTraffic() {
  const models = await ask("models");
  state.versions = models.versions;
  let traffic;
  try {
    traffic = await ask("traffic");
  } catch {
    element("canary").hidden = true;
    traffic = { champion: models.champion, challengers: [], shadows: [] };
  }
  const shares = new Map(traffic.challengers.map((each) => [each.version, each.share]));
  const left = 1 - [...shares.values()].reduce((sum, share) => sum + share, 0);
  const known = [traffic.champion, ...shares.keys(), ...traffic.shadows];
  const rows = [...new Set(known)].map((version) => {
    const role = version === traffic.champion ? "champion" : shares.has(version) ? "challenger" : "shadow";
    const share = version === traffic.champion ? left : shares.get(version) || 0;
    const ready = models.versions.some((each) => each.version === version);
    const badge = make("span", { class: ready ? "badge good" : "badge bad", text: ready ? "ready" : "not ready" });
    return [version, role, `${short(share * 100)} %`, badge];
  });
  element("traffic").replaceChildren(table([["Version"], ["Role"], ["Share", true], ["State"]], rows));
  element("decided").textContent = traffic.by ? `${traffic.since}, ${traffic.by}: ${traffic.reason || "no reason given"}` : "";
  await showChoices(traffic);
}

async function showChoices(traffic) {
  const found = await ask("registered").catch(() => ({ versions: [] }));
  const select = element("canary-version");
  const held = select.value || String((traffic.challengers[0] || {}).version || "");
  const options = found.versions.filter((version) => version !== traffic.champion);
  select.replaceChildren(...options.map((version) => make("option", { value: version, text: version })));
  if (options.map(String).includes(held)) select.value = held;
}

async function changing(work) {
  try {
    await work();
    element("status").textContent = "";
    await showTraffic();
  } catch (error) {
    element("status").textContent = error.message;
  }
}

// ---------------------------------------------------------------- live

function quantile(bins, ends, share) {
  const total = bins.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (let i = 0; i < bins.length; i += 1) {
    below += bins[i];
    if (total && below >= share * total) return (ends[i] ?? ends[i - 1]) * 1000;
  }
  return 0;
}

async function showLive() {
  const stats = await ask("stats");
  const versions = Object.entries(stats.versions);
  const sum = (pick) => versions.reduce((total, [, counts]) => total + pick(counts), 0);
  const now = {
    at: performance.now(),
    requests: sum((counts) => counts.requests),
    bins: stats.seconds.map((_, i) => sum((counts) => counts.bins[i])),
  };
  if (state.last) {
    const seconds = (now.at - state.last.at) / 1000;
    const bins = now.bins.map((count, i) => Math.max(count - state.last.bins[i], 0));
    state.rates.push(Math.max(now.requests - state.last.requests, 0) / seconds);
    state.latencies.push([quantile(bins, stats.seconds, 0.5), quantile(bins, stats.seconds, 0.99)]);
    for (const kept of [state.rates, state.latencies]) if (kept.length > KEPT) kept.shift();
    lines("rate", [state.rates]);
    lines("latency", [state.latencies.map((each) => each[0]), state.latencies.map((each) => each[1])]);
  }
  state.last = now;
  const rows = versions.map(([version, counts]) => [
    version,
    short(counts.requests),
    short(counts.errors),
    counts.requests ? `${short((counts.seconds / counts.requests) * 1000)} ms` : "",
  ]);
  element("counts").replaceChildren(table([["Version"], ["Requests", true], ["Errors", true], ["Mean", true]], rows));
}

function drawing(id) {
  const svg = element(id);
  const box = svg.getBoundingClientRect();
  const width = Math.max(box.width, 100);
  const height = Math.max(box.height, 60);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  return { svg, width, height };
}

function lines(id, series) {
  const { svg, width, height } = drawing(id);
  const most = Math.max(...series.flat(), 1e-9);
  for (const share of [0, 0.5, 1]) {
    const y = height - 6 - share * (height - 24);
    svg.append(make("line", { svg: true, class: "grid", x1: 0, x2: width, y1: y, y2: y }));
    svg.append(make("text", { svg: true, x: 4, y: y - 3, text: short(most * share) }));
  }
  series.forEach((values, n) => {
    const points = values.map((value, i) => {
      const x = width - ((values.length - 1 - i) * width) / (KEPT - 1);
      return `${x.toFixed(1)},${(height - 6 - (value / most) * (height - 24)).toFixed(1)}`;
    });
    svg.append(make("polyline", { svg: true, class: n ? "line second" : "line", points: points.join(" ") }));
  });
  svg.setAttribute("data-points", String(series[0].length));
}

// ---------------------------------------------------------------- drift and the run

async function showDrift() {
  const found = await ask("drift").catch(() => null);
  const windows = found ? found.windows : [];
  const { svg, width, height } = drawing("drifted");
  if (!windows.length) {
    svg.append(make("text", { svg: true, x: 8, y: height / 2, text: "No window is filled yet." }));
    element("traits").replaceChildren();
    return;
  }
  const counts = windows.map((window) => window.differences.filter((each) => each.drifted).length);
  const most = Math.max(...counts, 1);
  const step = Math.min(width / windows.length, 40);
  counts.forEach((count, i) => {
    const tall = Math.max((count / most) * (height - 30), 3);
    const bar = { svg: true, x: i * step + 2, y: height - 16 - tall, width: step - 4, height: tall, class: count ? "bad" : "" };
    svg.append(make("rect", bar));
    svg.append(make("text", { svg: true, x: i * step + 4, y: height - 3, text: windows[i].number }));
  });
  const last = windows[windows.length - 1];
  const rows = last.differences.slice(0, 8).map((each) => [
    each.trait,
    each.test,
    short(each.statistic),
    each.psi === null ? "" : short(each.psi),
    short(each.corrected),
    make("span", { class: each.drifted ? "badge bad" : "badge good", text: each.drifted ? "drifted" : "as before" }),
  ]);
  const heads = [["Trait"], ["Test"], ["Statistic", true], ["PSI", true], ["p, corrected", true], [""]];
  element("traits").replaceChildren(
    make("p", { class: "muted", text: `Window ${last.number}: ${last.rows} rows, ${last.start} to ${last.end}` }),
    table(heads, rows),
  );
}

async function showLeaderboard() {
  const found = await ask("leaderboard").catch(() => ({}));
  if (!found.levels) {
    element("levels").replaceChildren(make("p", { class: "muted", text: "No run of this store made this version." }));
    return;
  }
  const rows = Object.entries(found.levels).map(([name, level]) => [
    name,
    level.oof === null ? "" : short(level.oof),
    level.test === null ? "" : short(level.test),
    level.p_value === null || level.p_value === undefined ? "" : short(level.p_value),
  ]);
  element("levels").replaceChildren(
    make("p", { class: "muted", text: `${found.metric}; run ${found.run_id}` }),
    table([["Level"], ["Out of fold", true], ["Test", true], ["p against the winner", true]], rows),
  );
}

// ---------------------------------------------------------------- at work

async function refresh() {
  for (const show of [showLive, showTraffic, showDrift]) {
    try {
      await show();
      if (element("status").dataset.from === "refresh") element("status").textContent = "";
    } catch (error) {
      element("status").textContent = error.message;
      element("status").dataset.from = "refresh";
      return;
    }
  }
}

async function begin() {
  try {
    await showForm();
    await showLeaderboard();
  } catch (error) {
    element("status").textContent = error.message;
  }
  await refresh();
}

element("predict").addEventListener("click", () => trying(predict));
element("explain").addEventListener("click", () => trying(explain));
element("row").addEventListener("submit", (event) => { event.preventDefault(); trying(predict); });
element("share").addEventListener("input", () => { element("share-told").textContent = `${element("share").value} %`; });
element("canary").addEventListener("submit", (event) => {
  event.preventDefault();
  const version = Number(element("canary-version").value);
  const share = Number(element("share").value) / 100;
  const challengers = share > 0 && version ? [{ version, share }] : [];
  changing(() => send("PUT", "traffic", { challengers, reason: "set in the console" }));
});
element("promote").addEventListener("click", () => {
  const version = Number(element("canary-version").value);
  if (version) changing(() => send("POST", `models/${version}/promote`, {}));
});
element("clear").addEventListener("click", () => changing(() => send("PUT", "traffic", { reason: "cleared in the console" })));
element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", element("token").value);
  element("access").hidden = true;
  begin();
});

begin();
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
