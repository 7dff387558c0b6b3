"use strict";
// Shows what the event stream says, and changes nothing. Text of others only ever becomes text: textContent, and a
// name stands in a <bdi>, so that it can't turn what stands around it.

const QUIET_SECONDS = 15; // without a word from the daemon: what is shown is old
const AGAIN_SECONDS = 5;
const MOST_RECEIPTS = 50;

const at = (id) => document.getElementById(id);
const state = {};
let ahead = 0; // seconds that the daemon's clock is ahead of ours
let heard = 0; // when the last word came, by our clock, which is never set back
let source = null;

function make(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function put(id, text) {
  const place = at(id);
  if (place.textContent !== text) place.textContent = text; // else a screen reader would say it again and again
}

function fill(id, items) {
  at(id).replaceChildren(...items);
}

function row(...parts) {
  const made = document.createElement("li");
  made.append(...parts);
  return made;
}

// Words.

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  for (const [size, word] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (whole >= size) {
      const number = Math.floor(whole / size);
      return `${number} ${word}${number === 1 ? "" : "s"}`;
    }
  }
  return `${whole} s`;
}

function bytes(value) {
  for (const [power, word] of [[4, "TiB"], [3, "GiB"], [2, "MiB"], [1, "KiB"]]) {
    const size = 1024 ** power;
    if (value >= size) return `${(value / size).toFixed(1)} ${word}`;
  }
  return Math.round(value) === 1 ? "1 byte" : `${Math.round(value)} bytes`;
}

function amount(value, unit) {
  if (unit === "bytes") return bytes(value);
  if (unit === "bytes/s") return `${bytes(value)}/s`;
  return `${value.toLocaleString("en")} ${value === 1 ? unit.replace(/s$/, "") : unit}`;
}

const now = () => Date.now() / 1000 + ahead;
const ago = (when) => (now() - when < 2 ? "just now" : `${duration(now() - when)} ago`);

function clock(when) {
  const date = new Date(when * 1000);
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return today ? time : `${date.toLocaleDateString()} ${time}`;
}

function share(up, known) {
  if (up >= known) return "100 %";
  if (up <= 0) return "0 %";
  const percent = (100 * up) / known;
  if (percent > 99) return "over 99 %"; // not quite all is not all
  return percent < 1 ? "under 1 %" : `${Math.round(percent)} %`;
}

// What comes.

const merges = { receipts: MOST_RECEIPTS, slots: 240, sites: 50 };

function take(event) {
  const { now: theirs, whole, ...sections } = JSON.parse(event.data);
  ahead = theirs - Date.now() / 1000;
  heard = performance.now();
  for (const [told, section] of Object.entries(sections)) {
    const name = told.replace("+", "");
    if (name !== told) { // rows of a table that are not as they were
      const rows = new Map(section.map((one) => [one[0], one]));
      state[name] = (state[name] || []).map((one) => rows.get(one[0]) || one);
    } else if (name in merges && !whole && state[name]) {
      const rows = new Map(state[name].map((one) => [one[0], one]));
      for (const one of section) {
        rows.delete(one[0]);
        rows.set(one[0], one);
      }
      state[name] = [...rows.values()].slice(-merges[name]);
    } else {
      state[name] = section;
    }
    if (name in shows) shows[name](state[name]);
  }
  tick();
}

// What is shown.

const shows = {
  about(about) {
    put("name", about.name);
    put("kind", about.kind === "site" ? "site" : "consumer of the hub");
    at("promise").hidden = about.kind !== "site";
    put("about", `syncdaemon ${about.version}, running since ${clock(about.began)}`);
    put("queue-title", about.kind === "site" ? "Queue" : "Arriving");
    put("receipts-title", about.kind === "site" ? "Newest receipts" : "Newest files");
    put("question", about.kind === "site" ? "Is my evidence safe?" : "Does evidence arrive?");
    document.title = about.name;
    shows.slots(state.slots || []);
  },
  answer(answer) {
    put("verdict", answer.word);
    put("sentence", answer.text);
    fill("why", answer.why.map((line) => make("li", line)));
    tick();
  },
  link(link) {
    put("link-state", link.up ? "up" : "down");
    at("link-state").dataset.level = link.up ? "safe" : "trouble";
    const again = link.reconnects ? `, ${link.reconnects.toLocaleString("en")} connections lost since the start` : "";
    put("link-more", `${link.problem || link.url}${again}`);
  },
  facts(facts) {
    terms("facts", facts);
  },
  promise(lines) {
    terms("promise-list", lines);
  },
  slots(slots) {
    if (!state.about) return;
    timeline(slots);
    plots(slots);
  },
  work(work) {
    at("work").hidden = work.length === 0;
    fill("work-list", work.map(([name, what, done, size]) => {
      const bar = document.createElement("progress");
      bar.max = Math.max(1, size);
      bar.value = done;
      bar.setAttribute("aria-label", `${what}: ${name}`);
      const percent = size ? Math.floor((100 * done) / size) : 100;
      return row(make("bdi", name), bar, make("small", `${what}: ${bytes(done)} of ${bytes(size)}, ${percent} %`));
    }));
  },
  refused(refused) {
    at("refused").hidden = refused.count === 0;
    const left = refused.count - refused.rows.length;
    put("refused-count", refused.count.toLocaleString("en"));
    const shown = refused.rows.map(([name, reason, error, when]) => {
      const more = [error, when && clock(Date.parse(when) / 1000)].filter(Boolean).join(" · ");
      return row(make("bdi", name), make("small", `${reason}${more ? `: ${more}` : ""}`));
    });
    if (left > 0) shown.push(row(make("small", `and ${left.toLocaleString("en")} more`)));
    fill("refused-list", shown);
  },
  receipts(receipts) {
    at("receipts-none").hidden = receipts.length > 0;
    const shown = [];
    let before = null;
    for (const [number, when, name, size, seq, twin] of [...receipts].reverse()) {
      const between = before === null ? 0 : before - number - 1;
      if (between > 0) shown.push(row(make("small", `… ${between.toLocaleString("en")} more`)));
      const told = `${bytes(size)} · ${clock(when)} · message ${seq.toLocaleString("en")}`;
      shown.push(row(make("bdi", name), make("small", twin ? `${told} · ${state.about.kind === "site" ? "the stream had this content already" : "it was there already"}` : told)));
      before = number;
    }
    fill("receipts-list", shown);
  },
  rejected(rejected) {
    at("rejected").hidden = rejected.length === 0;
    terms("rejected-list", rejected.map(([reason, number]) => [reason, number.toLocaleString("en")]));
  },
  sites(sites) {
    at("sites").hidden = sites.length === 0;
    const newest = [...sites].reverse();
    fill("sites-rows", newest.map(([site, files, size, when]) => {
      const made = document.createElement("tr");
      const name = document.createElement("td");
      name.append(make("bdi", site));
      made.append(name, make("td", files.toLocaleString("en"), "number"), make("td", bytes(size), "number"), make("td", clock(when)));
      return made;
    }));
  },
  checks(checks) {
    const ill = checks.filter((one) => !one[2]);
    const well = checks.filter((one) => one[2]);
    put("health-count", ill.length ? `${ill.length} of ${checks.length} not well` : "all is well");
    fill("ill", ill.map(([, title, , found, todo]) => {
      const made = row(make("strong", title), make("p", found));
      if (todo) made.append(make("p", `What to do: ${todo}`));
      return made;
    }));
    put("well-title", `${well.length} checks are well`);
    fill("well", well.map(([, title, , found, todo]) => row(make("span", `✓ ${title}: ${found}. ${todo}`))));
  },
};

function terms(id, pairs) {
  fill(id, pairs.map(([name, value]) => {
    const made = document.createElement("div");
    made.append(make("dt", name), make("dd", value));
    return made;
  }));
}

// How many slots are drawn: an hour, or what there is of it, and not less than five minutes.
function width(slots) {
  const [most, seconds] = state.about.slots;
  const there = slots.length ? slots[slots.length - 1][0] - slots[0][0] + 1 : 0;
  return Math.min(most, Math.max(there, 300 / seconds));
}

function timeline(slots) {
  const most = width(slots);
  put("link-from", `${duration(most * state.about.slots[1])} ago`);
  const known = new Map(slots.map((one) => [one[0], one]));
  const newest = slots.length ? slots[slots.length - 1][0] : 0;
  const bars = [];
  let all = 0;
  let up = 0;
  for (let number = newest - most + 1; number <= newest; number += 1) {
    const slot = known.get(number);
    const bar = document.createElement("i");
    if (slot && slot[1] > 0) {
      all += slot[1];
      up += slot[2];
      bar.className = slot[2] >= slot[1] ? "up" : slot[2] > 0 ? "both" : "down";
    }
    bars.push(bar);
  }
  fill("timeline", bars);
  const long = all >= 60;
  put("link-share", long ? `up ${share(up, all)} of ${duration(all)} known` : "");
  at("timeline").setAttribute("aria-label", long
    ? `The link in the last hour: up ${share(up, all)} of the ${duration(all)} that are known`
    : "The link in the last hour: known for less than a minute");
}

const SVG = "http://www.w3.org/2000/svg";

function draw(kind, path) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("class", kind);
  made.setAttribute("d", path);
  return made;
}

function plots(slots) {
  const most = width(slots);
  const newest = slots.length ? slots[slots.length - 1][0] : 0;
  let column = 3;
  fill("plots", state.about.plots.map((plot) => {
    const columns = plot.lines.map(() => column++);
    const highest = Math.max(1, ...slots.map((one) => Math.max(...columns.map((place) => one[place]))));
    const latest = slots.length ? slots[slots.length - 1] : [];
    const seen = slots.length ? Math.max(...slots.map((one) => Math.max(...columns.map((place) => one[place])))) : 0;
    const figure = document.createElement("figure");
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", `0 0 ${most} 100`);
    picture.setAttribute("preserveAspectRatio", "none");
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `${plot.title} in the last hour: highest ${amount(seen, plot.unit)}`);
    columns.forEach((place, index) => {
      let path = "";
      let area = "";
      let last = null;
      const point = (one) => `${one[0] - newest + most},${(98 - (94 * one[place]) / highest).toFixed(1)}`;
      for (const one of slots) {
        if (slots.length === 1) picture.append(draw(`dot line${index}`, `M${point(one)} h0.01`));
        const joined = last !== null && one[0] - last[0] <= 2;
        if (!joined) area += last === null ? "" : ` L${last[0] - newest + most},100 Z`;
        if (!joined) area += `M${one[0] - newest + most},100 L${point(one)}`;
        else area += ` L${point(one)}`;
        path += `${joined ? " L" : "M"}${point(one)}`;
        last = one;
      }
      if (last !== null) area += ` L${last[0] - newest + most},100 Z`;
      if (index === 0) picture.append(draw("area0", area));
      picture.append(draw(`line${index}`, path));
    });
    const caption = document.createElement("figcaption");
    caption.append(make("strong", plot.title));
    plot.lines.forEach((line, index) => {
      const value = latest[columns[index]] || 0;
      if (plot.lines.length > 1) caption.append(make("span", line, `faint key${index}`));
    });
    caption.append(make("span", `highest ${amount(seen, plot.unit)}`, "faint"));
    figure.append(caption, picture);
    return figure;
  }));
}

// Time goes on, also when nothing comes.

function tick() {
  if (!state.answer) return;
  const silent = (performance.now() - heard) / 1000;
  const old = silent > QUIET_SECONDS || source === null || source.readyState === 2;
  at("answer").dataset.level = old ? "unknown" : state.answer.level;
  at("stale").hidden = !old;
  if (old) {
    put("verdict", "Not known");
    put("sentence", "The daemon can't be reached from here. It may well work on: only this page lost it.");
    put("stale", `What is shown below is ${duration(silent)} old.`);
  } else {
    put("verdict", state.answer.word);
    put("sentence", state.answer.text);
  }
  put("word", old ? "no connection, trying again" : "live");
  if (state.link && state.link.since) {
    put("link-since", `for ${duration(now() - state.link.since)}, since ${clock(state.link.since)}`);
  }
  icon(old ? "unknown" : state.answer.level);
}

const colours = { safe: "1a9c58", waiting: "d08a00", trouble: "d1272c", unknown: "7a8490" };
let drawn = "";

function icon(level) {
  if (drawn === level) return;
  drawn = level;
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#${colours[level]}"/></svg>`;
  document.querySelector("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(picture)}`;
}

function connect() {
  source = new EventSource("/events");
  source.onmessage = take;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_SECONDS * 1000); // refused, as when too many look
    put("word", "no connection, trying again");
  };
}

connect();
setInterval(tick, 1000);
