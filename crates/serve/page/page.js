// Sends each picture to the server this page came from, and shows its answer. Every picture is a request of its own, so
// that the server can gather them into batches, and so that each answer is shown as soon as it is there.

const DEFAULT_MAX_BODY = 32 * 1024 * 1024; // the server's own default, if it does not state a limit
const REQUESTS_AT_ONCE = 4;
const TRIES_WHEN_BUSY = 6;
const TOP_K = 5;
/** Pictures with a shorter side than this are drawn with visible pixels instead of blurred. */
const TINY = 100;

const find = (selector, within = document) => within.querySelector(selector);
const page = {
  cards: find("#cards"), results: find("#results"), tally: find("#tally"), spoken: find("#spoken"),
  notice: find("#notice"), network: find("#network"), views: find("#views"), heatMaps: find("#heat-maps"),
  samples: find("#samples"), sampleList: find("#sample-list"), files: find("#files"),
};

let models = [];
let samples = [];
let maxBody = DEFAULT_MAX_BODY;
const entries = new Set();

// ---- Words ----

const isLoopback = (host) =>
  host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);

function privacy({ protocol, hostname, host }) {
  if (isLoopback(hostname)) return "Pictures never leave this machine.";
  const secret = protocol === "https:" ? "" : ", and the connection is not encrypted";
  return `Pictures are sent to ${host}${secret}.`;
}

function size(bytes) {
  if (bytes < 1000) return counted(bytes, "byte", "bytes");
  return bytes < 999_500 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
const percent = (share) => (share < 0.0005 ? "< 0.1%" : `${(100 * share).toFixed(1)}%`);
const milliseconds = (ms) => (ms >= 9.95 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`);
const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Tells a screen reader. */
const speak = (text) => { page.spoken.textContent = text; };

function notice(text) {
  page.notice.hidden = !text;
  page.notice.textContent = text;
}

/** What went wrong with a picture: a heading, and what to do. */
class Problem extends Error {
  constructor(title, detail, { retry = false } = {}) {
    super(detail);
    Object.assign(this, { title, detail, retry });
  }
}

const tooLarge = (bytes) => new Problem(
  "This file is too large",
  `It has ${size(bytes)}; the server takes at most ${size(maxBody)}. Make the picture smaller, ` +
    "or save it as JPEG, and choose it again.",
);
const noAnswer = () => new Problem(
  "The server does not answer", "Is it still running? Start it again, and then try again.", { retry: true },
);

// ---- The server ----

async function json(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

/** What an answer that is not a classification says. */
function problemOf(response, body, bytes) {
  if (response.status === 413 && !body?.detail) return tooLarge(bytes);
  const title = body?.title || `The server answered with status ${response.status}`;
  return new Problem(title, body?.detail || "It did not say why. Its log may.", { retry: response.status >= 500 });
}

const pause = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

async function classify(file, settings, signal) {
  if (file.size > maxBody) throw tooLarge(file.size);
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(`/v1/classify?${settings}`, {
        method: "POST", body: file, signal, headers: { "content-type": type, accept: "application/json" },
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw noAnswer();
    }
    if (response.status === 503 && attempt < TRIES_WHEN_BUSY) {
      const seconds = Number(response.headers.get("retry-after")) || 1;
      await pause(1000 * Math.min(seconds, 10), signal);
      continue;
    }
    const body = await json(response);
    const result = body?.results?.[0];
    if (!response.ok || !result) throw problemOf(response, body, file.size);
    if (result.error) throw problemOf({ status: result.error.status ?? response.status }, result.error, file.size);
    return result;
  }
}

function settings() {
  const query = new URLSearchParams({ top_k: TOP_K, views: page.views.value, heatmap: page.heatMaps.checked });
  if (page.network.value) query.set("model", page.network.value);
  return query;
}

// ---- Taking turns ----

const waiting = [];
let running = 0;

function enqueue(entry) {
  entry.controller?.abort();
  entry.controller = new AbortController();
  entry.state = "waiting";
  showWaiting(entry);
  waiting.push({ entry, signal: entry.controller.signal, query: settings() });
  next();
}

function next() {
  while (running < REQUESTS_AT_ONCE && waiting.length > 0) {
    const turn = waiting.shift();
    if (turn.signal.aborted) continue;
    running += 1;
    take(turn).finally(() => { running -= 1; next(); });
  }
}

async function take({ entry, signal, query }) {
  try {
    const result = await classify(entry.file, query, signal);
    if (signal.aborted) return;
    entry.state = "answered";
    showAnswer(entry, result, query.get("model"));
  } catch (error) {
    if (signal.aborted) return;
    entry.state = "failed";
    showProblem(entry, error instanceof Problem ? error : new Problem("This page has a defect", String(error)));
  }
  tally(entry);
}

/** How many pictures have their answers; spoken one by one, or for many pictures in sum. */
function tally(latest) {
  const all = [...entries];
  const failed = all.filter((entry) => entry.state === "failed").length;
  const left = all.filter((entry) => entry.state === "waiting").length;
  const parts = [left ? `${all.length - left} of ${counted(all.length, "picture", "pictures")}` : counted(all.length, "picture", "pictures")];
  if (failed) parts.push(`${failed} without an answer`);
  page.tally.textContent = parts.join(", ");
  page.results.hidden = all.length === 0;
  document.documentElement.classList.toggle("has-results", all.length > 0);
  if (latest && all.length <= 3) speak(latest.summary);
  else if (latest && left === 0) speak(`Done: ${page.tally.textContent}`);
}

// ---- Cards ----

function add(files, truth) {
  const list = [...files];
  for (const file of list.reverse()) {
    const element = find("#card").content.firstElementChild.cloneNode(true);
    const entry = { file, truth, element, url: URL.createObjectURL(file) };
    entries.add(entry);
    prepare(entry);
    page.cards.prepend(element);
  }
  // The newest picture is the first card, and the first to be sent.
  [...entries].slice(-list.length).reverse().forEach(enqueue);
  tally();
  showFirst();
}

/** On a small screen, the results begin below it. */
function showFirst() {
  const first = page.cards.firstElementChild;
  if (!first || first.getBoundingClientRect().top < 0.6 * innerHeight) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  page.results.scrollIntoView({ behavior: isCalm ? "instant" : "smooth" });
}

function prepare(entry) {
  const { element, file } = entry;
  const photo = find(".photo", element);
  const name = file.name || "pasted picture";
  const heading = find("h3", element);
  heading.textContent = name;
  heading.id = `picture-${(prepare.count = (prepare.count ?? 0) + 1)}`;
  find("article", element).setAttribute("aria-labelledby", heading.id);
  find(".facts", element).textContent = size(file.size);
  find(".remove .unseen", element).textContent = `Remove ${name}`;
  find(".remove", element).addEventListener("click", () => remove(entry));
  find(".again", element).addEventListener("click", () => enqueue(entry));
  photo.alt = name;
  photo.addEventListener("load", () => setShape(entry, photo.naturalWidth, photo.naturalHeight));
  photo.addEventListener("error", () => {
    photo.hidden = true;
    find(".no-preview", element).hidden = false;
  });
  photo.src = entry.url;
  const slider = find("input[type=range]", element);
  const opacity = () => {
    find(".heat", element).style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", `${slider.value}% visible`);
  };
  slider.addEventListener("input", opacity);
  opacity();
}

const isTiny = (width, height) => Math.min(width, height) < TINY;

function setShape({ element }, width, height) {
  const stack = find(".stack", element);
  stack.style.setProperty("--ratio", width / height);
  stack.classList.toggle("tiny", isTiny(width, height));
}

function remove(entry) {
  const neighbor = entry.element.nextElementSibling ?? entry.element.previousElementSibling;
  discard(entry);
  tally();
  speak(`Removed ${entry.file.name}`);
  (neighbor ? find(".remove", neighbor) : page.files).focus();
}

function discard(entry) {
  entry.controller?.abort();
  entry.element.remove();
  URL.revokeObjectURL(entry.url);
  entries.delete(entry);
}

function showOnly(entry, ...shown) {
  for (const part of [".waiting", ".labels", ".verdict", ".heat-control", ".heat", ".time", ".problem"]) {
    find(part, entry.element).hidden = !shown.includes(part);
  }
  find("article", entry.element).setAttribute("aria-busy", shown.includes(".waiting"));
  // A file that nobody can read has no picture to show.
  find(".picture", entry.element).classList.toggle("optional", shown.includes(".problem"));
}

const showWaiting = (entry) => showOnly(entry, ".waiting");

function showProblem(entry, { title, detail, retry }) {
  find(".problem-title", entry.element).textContent = title;
  find(".problem-detail", entry.element).textContent = detail;
  find(".again", entry.element).hidden = !retry;
  showOnly(entry, ".problem");
  entry.summary = `${entry.file.name}: ${title}. ${detail}`;
}

function showAnswer(entry, result, model) {
  const { element } = entry;
  const [best] = result.predictions;
  const shown = [".labels", ".time"];
  find(".facts", element).textContent = `${result.width} × ${result.height} pixels, ${size(entry.file.size)}`;
  setShape(entry, result.width, result.height);
  find(".labels", element).replaceChildren(...result.predictions.map(row));
  const verdict = verdictOf(entry, result, model);
  find(".verdict", element).replaceChildren(...verdict.words);
  find(".verdict", element).classList.toggle("differs", verdict.differs);
  if (verdict.words.length > 0) shown.push(".verdict");
  if (result.heatmap) {
    const heat = find(".heat", element);
    heat.src = result.heatmap.png;
    heat.alt = `Heat map: where in the picture the network sees ${result.heatmap.label}`;
    find(".heat-name", element).textContent = `Where it sees “${result.heatmap.label}”`;
    shown.push(".heat", ".heat-control");
  }
  showTime(find(".time", element), result.timing_ms, result.batch_size, Boolean(result.heatmap));
  showOnly(entry, ...shown);
  entry.summary = `${entry.file.name}: ${best.label}, ${percent(best.probability)}`;
}

const node = (name, properties = {}, ...children) => {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
};

function row({ label, probability }) {
  const bar = node("i");
  bar.style.setProperty("--share", probability);
  const track = node("span", { className: "track" }, bar);
  track.setAttribute("aria-hidden", "true");
  return node("li", {},
    node("span", { className: "label", textContent: label }), " ",
    node("span", { className: "percent", textContent: percent(probability) }), track);
}

/** How the answer compares with what is known about the picture, and with the other views. */
function verdictOf(entry, { predictions, agreement }, model) {
  const words = [];
  const isKnown = entry.truth && (!entry.truth.model || !model || entry.truth.model === model);
  const differs = isKnown && predictions[0].label !== entry.truth.label;
  if (isKnown) {
    words.push(node("b", { textContent: differs ? "✗ Wrong" : "✓ Right" }), `: its true label is “${entry.truth.label}”. `);
  }
  if (agreement != null) words.push(`${Math.round(100 * agreement)}% of the views agree.`);
  return { words, differs };
}

function showTime(place, { decode, queue, compute, total }, batchSize, hasHeatMap) {
  const phases = { decode, queue, compute };
  // The heat map is made last, and has no time of its own.
  if (hasHeatMap) phases["heat map"] = Math.max(0, total - decode - queue - compute);
  find(".draw", place).hidden = !hasHeatMap;
  const bars = find(".spans", place).children;
  const rows = Object.entries(phases).map(([phase, ms], index) => {
    bars[index].style.setProperty("--span", ms);
    const mark = node("i", { className: bars[index].className });
    return node("div", {}, node("dt", {}, mark, phase), node("dd", { textContent: milliseconds(ms) }));
  });
  const shared = batchSize > 1 ? `, in a batch of ${batchSize}` : "";
  find(".total", place).replaceChildren(node("b", { textContent: milliseconds(total) }), ` in all${shared}`);
  find("dl", place).replaceChildren(...rows);
}

// ---- Networks and samples ----

async function ask(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response.json();
}

async function start() {
  try {
    const answer = await ask("/v1/models");
    models = answer.models;
    maxBody = answer.limits?.body_bytes ?? DEFAULT_MAX_BODY;
    const maxViews = answer.limits?.views ?? Infinity;
    for (const option of page.views.options) option.hidden = option.disabled = option.dataset.count > maxViews;
    samples = (await ask("/v1/samples")).samples;
  } catch {
    find("#network-facts").textContent = "";
    notice("The server does not answer. Is it still running? This page asks again every few seconds.");
    setTimeout(start, 3000);
    return;
  }
  const isReady = models.some((model) => model.ready);
  notice(isReady ? "" : "The networks are still being loaded. This page asks again in a moment.");
  if (!isReady) setTimeout(start, 1000);
  showNetworks();
}

function showNetworks() {
  const chosen = page.network.value || models.find((model) => model.default)?.name || models[0]?.name;
  page.network.replaceChildren(...models.map(({ name }) => node("option", { value: name, textContent: name })));
  page.network.value = chosen ?? "";
  find("#network-setting").hidden = models.length < 2;
  showNetwork();
}

/** What is to be known about the chosen network, and its samples. */
function showNetwork() {
  const model = models.find(({ name }) => name === page.network.value);
  if (model) {
    const [height, width] = model.input;
    const facts = [counted(model.classes, "class", "classes"), `sees ${width} × ${height} pixels`];
    if (model.network !== model.name) facts.unshift(model.network);
    if (model.accuracy) facts.push(`right on ${model.accuracy}`);
    find("#network-facts").replaceChildren(node("b", { textContent: model.name }), ...facts.flatMap((fact) => [" · ", node("span", { textContent: fact })]));
  }
  const own = samples.filter((sample) => !sample.model || sample.model === page.network.value);
  page.samples.hidden = own.length === 0;
  page.sampleList.replaceChildren(...own.map((sample) => node("li", {}, sampleButton(sample))));
}

function sampleButton(sample) {
  const image = node("img", { src: sample.url, alt: `Sample ${sample.name}` });
  image.addEventListener("load", () => image.classList.toggle("tiny", isTiny(image.naturalWidth, image.naturalHeight)));
  const button = node("button", { type: "button", title: sample.name }, image);
  button.addEventListener("click", async () => {
    try {
      const blob = await (await fetch(sample.url)).blob();
      add([new File([blob], sample.name, { type: blob.type })], sample);
    } catch {
      notice("The sample could not be read. Is the server still running?");
    }
  });
  return button;
}

// ---- Drop, paste, choose ----

/** The files of a drop, those of folders included. */
async function dropped(transfer) {
  const roots = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  if (roots.some((root) => !root)) return [...transfer.files];
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      files.push(await new Promise((resolve, reject) => { entry.file(resolve, reject); }));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
      if (some.length === 0) return;
      // Files such as .DS_Store are nobody's pictures.
      for (const inner of some.filter(({ name }) => !name.startsWith("."))) await walk(inner);
    }
  };
  for (const root of roots) await walk(root);
  return files;
}

let depth = 0;
const drag = (by) => {
  depth = by === 0 ? 0 : depth + by;
  document.documentElement.classList.toggle("dragging", depth > 0);
};
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => carriesFiles(event) && drag(1));
addEventListener("dragleave", (event) => carriesFiles(event) && drag(-1));
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  drag(0);
  try {
    add(await dropped(event.dataTransfer));
  } catch (error) {
    notice(`What was dropped could not be read: ${error.message}`);
  }
});
addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) add(event.clipboardData.files);
});
page.files.addEventListener("change", () => {
  add(page.files.files);
  page.files.value = ""; // so that the same file can be chosen again
});

const again = () => entries.forEach(enqueue);
page.network.addEventListener("change", () => { showNetwork(); again(); });
page.views.addEventListener("change", again);
page.heatMaps.addEventListener("change", again);
find("#clear").addEventListener("click", () => {
  [...entries].forEach(discard);
  tally();
  speak("All pictures are removed");
  page.files.focus();
});

// ---- Light and dark ----

function storedTheme(theme) {
  try {
    if (theme) localStorage.setItem("theme", theme);
    return localStorage.getItem("theme");
  } catch {
    return null; // The browser keeps nothing for this page.
  }
}
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  find(`input[name=theme][value=${theme}]`).checked = true;
}
const stored = storedTheme();
setTheme(["light", "dark"].includes(stored) ? stored : "auto");
find(".themes").addEventListener("change", ({ target }) => {
  storedTheme(target.value);
  setTheme(target.value);
});

find("#privacy").textContent = privacy(location);
find("#command").textContent =
  `curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' '${location.origin}/v1/classify'`;
start();
