"use strict";
// All sites of a hub. It asks every few seconds for what has changed. Names and texts of sites are written by strangers:
// they only ever become text, never HTML.

const EVERY_MS = 5000;
const AROUND = 10; // rows above and below what is seen
const GUESSED_HEIGHT = 34; // of a row, in pixels, before there is one
const BARS = "▁▂▃▄▅▆▇█";
const SAYS = {
  conflict: ["checkpoints differ", "Two checkpoints of this site do not agree. Keep both, and read the chapter on evidence in the runbook."],
  silent: ["silent", "No word came in time. The site has no link, or its daemon is down. What it has not delivered waits at the site."],
  never: ["never heard of", "It is on the list of expected sites, and has never told anything."],
  filling: ["disk full soon", "A disk of the site is full within a week at the present rate. On a full disk evidence can't be dropped."],
  refused: ["files refused", "Files of the site lie in quarantine, each with its reason, until somebody decides."],
  waiting: ["behind", "The oldest file has waited for more than 20 minutes."],
  paused: ["delivers nothing", "The site is paused or stands by, or something keeps it from delivering."],
  well: ["well", "Nothing is wrong that the hub could see."],
};

const byId = (id) => document.getElementById(id);
const sites = new Map(); // name → line
const rows = []; // what is drawn, in its order
let state = { change: 0, now: 0, names: [] };
let wanted = "";
let found = []; // what matches, the worst first

const age = (seconds) => {
  if (seconds < 0) seconds = 0;
  for (const [length, word] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${word}`;
  }
  return `${Math.floor(seconds)} s`;
};
const count = (number) => number.toLocaleString("en");
const speed = (bps) => {
  for (const [unit, word] of [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"]]) {
    if (bps >= unit) return `${(bps / unit).toFixed(1)} ${word}`;
  }
  return bps ? `${bps} bit/s` : "–";
};
const plot = (points) => {
  const most = Math.max(1, ...points);
  return points.slice(-20).map((it) => BARS[Math.min(7, Math.floor((it / most) * 7.99))]).join("");
};

function row() {
  const line = document.createElement("tr");
  const button = document.createElement("button");
  button.type = "button";
  const cells = ["", "state", "", "number", "plot", "number", "number", "number rare", "number rare", "rare"].map((kind) => {
    const cell = document.createElement("td");
    if (kind) cell.className = kind;
    line.append(cell);
    return cell;
  });
  cells[0].append(button);
  cells[4].setAttribute("aria-hidden", "true");
  button.addEventListener("click", () => open(button.textContent));
  return { line, cells: [button, ...cells.slice(1)], texts: [], shown: "" };
}

function write(drawn, site) {
  const [name, at, seen, queue, bps, , days, refused, version, checkpoint] = site;
  const texts = [
    name, SAYS[state.names[at]][0], seen ? `${age(state.now - seen)} ago` : "never", seen ? count(queue) : "–", site.drawn,
    speed(bps), days === null ? "–" : `${days} d`, refused ? count(refused) : "–",
    checkpoint === null ? "–" : `row ${count(checkpoint)}`, version || "–",
  ];
  texts.forEach((text, place) => {
    if (drawn.texts[place] !== text) drawn.cells[place].textContent = text;
  });
  drawn.texts = texts;
  if (drawn.shown !== state.names[at]) drawn.line.dataset.state = drawn.shown = state.names[at];
}

function matching() {
  const matches = [];
  for (const site of sites.values()) {
    if (!wanted || `${site[0]} ${SAYS[state.names[site[1]]][0]} ${site[8]}`.toLowerCase().includes(wanted)) matches.push(site);
  }
  return matches.sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
}

// Only the rows that can be seen are drawn, and a few around them: a table of thousands is slow to lay out.
function draw() {
  found = matching();
  byId("fleet").setAttribute("aria-rowcount", found.length + 1);
  byId("found").textContent = wanted ? `${count(found.length)} of ${count(sites.size)}` : "";
  tell();
  show();
}

function show() {
  const body = byId("sites");
  const height = (rows.length && rows[0].line.offsetHeight) || GUESSED_HEIGHT;
  const seen = Math.ceil(window.innerHeight / height) + 2 * AROUND;
  const above = Math.floor((window.scrollY - byId("above").offsetTop) / height) - AROUND;
  const first = Math.max(0, Math.min(above, found.length - seen));
  const shown = found.slice(first, first + seen);
  while (rows.length < shown.length) {
    rows.push(row());
    body.append(rows[rows.length - 1].line);
  }
  while (rows.length > shown.length) rows.pop().line.remove();
  shown.forEach((site, place) => {
    write(rows[place], site);
    rows[place].line.setAttribute("aria-rowindex", first + place + 2);
  });
  byId("above").firstElementChild.style.height = `${first * height}px`;
  byId("below").firstElementChild.style.height = `${(found.length - first - shown.length) * height}px`;
}

function tell() {
  const numbers = state.names.map(() => 0);
  for (const site of sites.values()) numbers[site[1]] += 1;
  const bad = state.names
    .map((name, at) => [name, numbers[at]])
    .filter(([name, number]) => name !== "well" && number)
    .map(([name, number]) => `${count(number)} ${SAYS[name][0]}`);
  const all = sites.size === 1 ? "1 site" : `${count(sites.size)} sites`;
  const text = !sites.size ? "No site has told anything yet" : bad.length ? `Of ${all}: ${bad.join(", ")}` : `${all}, all well`;
  if (byId("verdict").textContent !== text) byId("verdict").textContent = text;
}

async function ask() {
  try {
    const answer = await fetch(`sites?since=${state.change}`);
    if (!answer.ok) throw new Error(`the hub answers ${answer.status}`);
    const news = await answer.json();
    take(news);
    draw();
    const late = news.clock - news.now > 60 ? `; what you see is ${age(news.clock - news.now)} old` : "";
    byId("trouble").textContent = news.problem ? `The hub hears nothing: ${news.problem}${late}` : "";
  } catch (error) {
    byId("trouble").textContent = `No answer from syncdaemon hub: ${error.message}. What you see is old.`;
  }
}

function take(news) {
  if (news.whole) sites.clear();
  state = { change: news.change, now: news.now || news.clock, names: news.states };
  for (const site of news.sites) {
    site.drawn = plot(site[10]);
    sites.set(site[0], site);
  }
}

async function open(name) {
  const answer = await fetch(`site?name=${encodeURIComponent(name)}`);
  const whole = answer.ok ? await answer.json() : { site: name, state: "never", told: {}, hub: {} };
  byId("name").textContent = whole.site;
  byId("advice").textContent = SAYS[whole.state][1];
  const list = byId("told");
  list.replaceChildren();
  const facts = { "last word": whole.last_seen ? new Date(whole.last_seen * 1000).toISOString() : "never", ...whole.told, ...whole.hub };
  for (const [key, value] of Object.entries(facts)) {
    if (value === null || value === "" || key === "site") continue;
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = key.replaceAll("_", " ");
    text.textContent = typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
    list.append(term, text);
  }
  byId("detail").showModal();
}

byId("search").addEventListener("submit", (event) => event.preventDefault());
byId("wanted").addEventListener("input", () => {
  wanted = byId("wanted").value.trim().toLowerCase();
  draw();
});

async function live() {
  if (!document.hidden) await ask();
  setTimeout(live, EVERY_MS);
}
window.addEventListener("scroll", () => requestAnimationFrame(show), { passive: true });
window.addEventListener("resize", () => requestAnimationFrame(show));
document.addEventListener("visibilitychange", () => document.hidden || ask());
live();
