// Follows the registry by server-sent events and shows it.
//
// Names come from whoever has registered. They become text (`textContent`), never markup: the
// policy of the page has no way to make elements from a text.

const SHOWN_SERVICES = 200;
const SHOWN_NODES = 40;
const SHOWN_CHANGES = 40;
const byId = (id) => document.getElementById(id);

/** What is known. */
const pods = new Map(); // "service:pod" -> pod
const listeners = new Map(); // group -> set of "service:pod" that are subscribed to it
let load = {}; // "service:pod" -> [in flight, a second, is left out]
let revision = 0;
const rates = [];

const keyOf = (pod) => `${pod.service}:${pod.pod}`;
const serviceOf = (key) => key.slice(0, key.indexOf(":"));
const loadOf = (key) => (Object.hasOwn(load, key) ? load[key] : [0, 0, false]);
const byName = (one, two) => (one < two ? -1 : one > two ? 1 : 0);

// --- what is heard

function subscribe(subscriber, group) {
  if (!listeners.has(group)) listeners.set(group, new Set());
  listeners.get(group).add(subscriber);
}

function unsubscribe(subscriber, group) {
  const known = listeners.get(group);
  known?.delete(subscriber);
  if (known?.size === 0) listeners.delete(group);
}

function hearState(state) {
  pods.clear();
  listeners.clear();
  for (const pod of state.pods) pods.set(keyOf(pod), pod);
  for (const { subscriber, group } of state.subscriptions) subscribe(subscriber, group);
  const why = { begin: "the state", lagged: "fell behind: the state anew", restored: "restored" };
  tick("unknown", `${state.pods.length} pods`, why[state.reason] ?? "the state");
}

function hearChange(change) {
  switch (change.kind) {
    case "added":
      pods.set(keyOf(change.pod), change.pod);
      return tick(change.pod.status, keyOf(change.pod), "registered");
    case "changed": {
      pods.set(keyOf(change.pod), change.pod);
      const { status } = change.pod;
      if (change.again) return tick(status, keyOf(change.pod), "registered anew");
      if (change.before === status) return tick(status, keyOf(change.pod), "changed");
      return tick(status, keyOf(change.pod), `${change.before} → ${status}`);
    }
    case "removed": {
      pods.delete(keyOf(change.pod));
      const why = { deleted: "unregistered", expired: "expired: no heartbeat" };
      const status = change.cause === "expired" ? "unhealthy" : "unknown";
      return tick(status, keyOf(change.pod), why[change.cause] ?? change.cause);
    }
    case "subscribed":
      return subscribe(change.subscriber, change.group);
    case "unsubscribed":
      return unsubscribe(change.subscriber, change.group);
  }
}

function follow() {
  const events = new EventSource("/events");
  const hear = (name, take) =>
    events.addEventListener(name, (event) => {
      take(JSON.parse(event.data));
      show("live", "live");
    });
  hear("state", (state) => {
    revision = state.revision;
    hearState(state);
  });
  hear("changes", (changes) => {
    revision = changes.revision;
    changes.changes.forEach(hearChange);
  });
  hear("load", (said) => {
    load = said;
    let rate = 0;
    for (const key of pods.keys()) rate += loadOf(key)[1];
    rates.push(rate);
    if (rates.length > 60) rates.shift();
  });
  events.onerror = () => {
    show("lost", "not connected");
    // A browser tries again by itself, unless it was refused.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

// --- what is shown

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Sets a text, and touches nothing where it is that already. */
function say(where, text) {
  text = String(text);
  if (where.textContent !== text) where.textContent = text;
}

/** A name of others, which may be too long for its place. */
function sayName(where, text) {
  say(where, text);
  if (where.title !== text) where.title = text;
}

function nameElement(tag, name, text) {
  const made = element(tag, `name ${name}`);
  sayName(made, text);
  return made;
}

/** Makes the children of a parent those of a list, by key, in its order; few are moved. */
function arrange(parent, list, keyOfOne, make, update) {
  const known = new Map();
  for (const child of parent.children) known.set(child.key, child);
  let place = parent.firstElementChild;
  for (const one of list) {
    const key = keyOfOne(one);
    let child = known.get(key);
    known.delete(key);
    if (!child) {
      child = make(one);
      child.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, one);
  }
  for (const child of known.values()) child.remove();
}

function services() {
  const found = new Map();
  for (const pod of pods.values()) {
    if (!found.has(pod.service)) found.set(pod.service, []);
    found.get(pod.service).push(pod);
  }
  const sorted = [...found].sort((one, two) => byName(one[0], two[0]));
  for (const [, list] of sorted) list.sort((one, two) => byName(one.pod, two.pod));
  return sorted;
}

const rateOf = (list) => list.reduce((sum, pod) => sum + loadOf(keyOf(pod))[1], 0);

function showServices(found) {
  const shown = found.slice(0, SHOWN_SERVICES);
  arrange(byId("services"), shown, ([name]) => name, makeService, updateService);
  const more = found.length - shown.length;
  say(byId("services-note"), found.length === 0 ? "Nobody is registered." : more > 0 ? `and ${more} more` : "");
}

function makeService([name]) {
  const made = element("article", "service");
  made.dataset.service = name;
  const head = element("header");
  head.append(nameElement("h3", "", name), element("span", "count"));
  made.append(head, element("ul"));
  return made;
}

function updateService(made, [, list]) {
  const rate = rateOf(list);
  const pods = list.length === 1 ? "1 pod" : `${list.length} pods`;
  say(made.querySelector(".count"), rate > 0 ? `${pods}, ${rate}/s` : pods);
  const most = Math.max(1, ...list.map((pod) => loadOf(keyOf(pod))[1]));
  arrange(made.querySelector("ul"), list, keyOf, makePod, (row, pod) => updatePod(row, pod, most));
}

function makePod(pod) {
  const row = element("li", "pod");
  row.dataset.key = keyOf(pod);
  const rate = element("span", "per-second");
  rate.append(element("span", "number"), element("div", "bar"));
  const todo = element("span", "do");
  for (const what of ["drain", "kill"]) {
    const button = element("button", what, what);
    button.type = "button";
    button.setAttribute("aria-label", `${what} ${keyOf(pod)}`);
    button.addEventListener("click", () => order(button, pod, what));
    todo.append(button);
  }
  const flight = element("span", "flight");
  flight.title = "requests in flight";
  rate.title = "requests a second";
  row.append(element("span", "dot"), nameElement("span", "pod-name", pod.pod), nameElement("span", "zone", pod.zone));
  row.append(element("span", "status"), flight, rate, todo);
  return row;
}

function updatePod(row, pod, most) {
  const [flight, rate, isLeftOut] = loadOf(keyOf(pod));
  row.className = `pod ${pod.status} is-${pod.status}`;
  row.querySelector(".dot").className = `dot ${pod.status}`;
  sayName(row.querySelector(".zone"), pod.zone);
  say(row.querySelector(".status"), isLeftOut && pod.status === "healthy" ? "left out" : pod.status);
  say(row.querySelector(".flight"), flight);
  say(row.querySelector(".number"), `${rate}/s`);
  row.querySelector(".per-second").classList.toggle("none", rate === 0);
  row.querySelector(".bar").style.width = `${(100 * rate) / most}%`;
  row.querySelector(".drain").disabled = pod.status === "draining";
}

async function order(button, pod, what) {
  button.disabled = true;
  try {
    const path = [pod.service, pod.pod].map(encodeURIComponent).join("/");
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`/services/${path}/${what}`, { method: "POST", headers });
    if (!answer.ok) notice(`${what} ${keyOf(pod)}: ${(await answer.json()).error}`);
  } catch (error) {
    notice(`${what} ${keyOf(pod)}: ${error.message}`);
  }
  button.disabled = false;
  plan();
}

let noticed;
function notice(text) {
  const where = byId("notice");
  where.textContent = text;
  where.hidden = false;
  clearTimeout(noticed);
  noticed = setTimeout(() => (where.hidden = true), 6000);
}

function tick(status, name, what) {
  const line = element("li");
  const now = new Date();
  const time = element("time", "", now.toLocaleTimeString([], { hour12: false }));
  time.dateTime = now.toISOString();
  line.append(time, element("span", `dot ${status}`), nameElement("span", "", name), element("span", "what", what));
  const ticker = byId("ticker");
  ticker.prepend(line);
  while (ticker.children.length > SHOWN_CHANGES) ticker.lastElementChild.remove();
}

// --- the call graph

/** Who calls whom, and the layer of each: behind all that call it. */
function graphOf() {
  const calls = new Map();
  const node = (name) => {
    if (!calls.has(name)) calls.set(name, new Set());
    return calls.get(name);
  };
  for (const [group, keys] of listeners) {
    for (const key of keys) {
      if (serviceOf(key) !== group) node(serviceOf(key)).add(group), node(group);
    }
  }
  const all = [...calls.keys()].sort(byName);
  const names = new Set(all.slice(0, SHOWN_NODES));
  // Depth first; a call back to who is being visited would be a circle, and counts for no layer.
  const layer = new Map();
  const visiting = new Set();
  const visited = [];
  const visit = (name) => {
    visiting.add(name);
    for (const called of calls.get(name)) {
      if (names.has(called) && !layer.has(called) && !visiting.has(called)) visit(called);
    }
    visiting.delete(name);
    layer.set(name, 0);
    visited.unshift(name);
  };
  const isCalled = new Set([...calls.values()].flatMap((called) => [...called]));
  const first = [...names].sort((one, two) => isCalled.has(one) - isCalled.has(two));
  for (const name of first) if (!layer.has(name)) visit(name);
  const place = new Map(visited.map((name, at) => [name, at]));
  const edges = [];
  for (const name of visited) {
    for (const called of calls.get(name)) {
      if (!names.has(called)) continue;
      edges.push([name, called]);
      if (place.get(called) > place.get(name)) {
        layer.set(called, Math.max(layer.get(called), layer.get(name) + 1));
      }
    }
  }
  return { names: visited, edges, layer, more: all.length - names.size };
}

const NODE_HEIGHT = 34;

const columnWidth = (count, width) => Math.min(262, (width - (count - 1) * 56) / count);

/** In columns, from those who call to those who are called. */
function columns({ names, edges, layer }, width) {
  const rows = [];
  for (const name of names) (rows[layer.get(name)] ??= []).push(name);
  const places = new Map();
  const count = rows.length;
  const nodeWidth = columnWidth(count, width);
  const height = Math.max(...rows.map((row) => row.length)) * (NODE_HEIGHT + 8) - 8;
  rows.forEach((row, column) => {
    // Near those who call it.
    const middle = (name) => {
      const callers = edges.filter(([from, to]) => to === name && places.has(from));
      return callers.reduce((sum, [from]) => sum + places.get(from).y, 0) / (callers.length || 1);
    };
    if (column > 0) row.sort((one, two) => middle(one) - middle(two) || byName(one, two));
    const step = height / row.length;
    row.forEach((name, at) => {
      const x = count > 1 ? (column * (width - nodeWidth)) / (count - 1) : 0;
      places.set(name, { x, y: step * (at + 0.5) - NODE_HEIGHT / 2, width: nodeWidth });
    });
  });
  const path = (from, to) => {
    const [x1, y1] = [from.x + from.width, from.y + NODE_HEIGHT / 2];
    const [x2, y2] = [to.x - 3, to.y + NODE_HEIGHT / 2];
    const bend = Math.max(28, Math.abs(x2 - x1) / 2);
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  };
  return { places, height, path };
}

/** One below the other, with arcs beside them, where there is no room for columns. */
function list({ names }, width) {
  const places = new Map();
  const margin = 84;
  const nodeWidth = Math.min(420, width - margin);
  names.forEach((name, at) => places.set(name, { x: 0, y: at * (NODE_HEIGHT + 6), width: nodeWidth }));
  const path = (from, to) => {
    const x = from.width;
    const [y1, y2] = [from.y + NODE_HEIGHT / 2 + 5, to.y + NODE_HEIGHT / 2 - 5];
    const bend = Math.min(margin * 1.25, 20 + Math.abs(y2 - y1) / 4);
    return `M${x} ${y1}C${x + bend} ${y1} ${x + bend} ${y2} ${x + 3} ${y2}`;
  };
  return { places, height: names.length * (NODE_HEIGHT + 6) - 6, path };
}

const SVG = "http://www.w3.org/2000/svg";
let drawn = "";

function showGraph(found) {
  const graph = graphOf();
  const where = byId("graph");
  byId("calls").hidden = graph.names.length === 0;
  if (graph.names.length === 0) return;
  const width = where.clientWidth;
  const shape = JSON.stringify([width, graph.names, graph.edges]);
  if (shape !== drawn) {
    drawn = shape;
    drawGraph(where, graph, width);
  }
  const byService = new Map(found);
  for (const node of where.querySelectorAll(".node")) {
    const list = byService.get(node.key) ?? [];
    say(node.querySelector(".count"), `${rateOf(list)}/s`);
    const pips = list.slice(0, 6);
    arrange(node.querySelector(".pips"), pips, keyOf, () => element("span"), (pip, pod) => {
      pip.className = `dot ${pod.status}`;
    });
    const healthy = list.filter((pod) => pod.status === "healthy").length;
    node.title = `${node.key}: ${healthy} of ${list.length} healthy`;
  }
}

function drawGraph(where, graph, width) {
  const count = 1 + Math.max(...graph.layer.values());
  const hasRoom = columnWidth(count, width) >= 180;
  const { places, height, path } = hasRoom ? columns(graph, width) : list(graph, width);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const shape = (tag, parent, attributes) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    parent.append(made);
    return made;
  };
  const marker = shape("marker", svg, { id: "arrow", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 5, markerHeight: 5, orient: "auto" });
  shape("path", marker, { d: "M0 0L6 3L0 6z" });
  const lines = graph.edges.map(([from, to]) => {
    const d = path(places.get(from), places.get(to));
    return { from, to, line: shape("path", svg, { d, "marker-end": "url(#arrow)" }) };
  });
  const nodes = graph.names.map((name) => {
    const place = places.get(name);
    const node = element("div", "node");
    node.key = name;
    node.dataset.node = name;
    node.append(nameElement("span", "", name), element("span", "pips"), element("span", "count"));
    node.style.left = `${place.x}px`;
    node.style.top = `${place.y}px`;
    node.style.width = `${place.width}px`;
    node.addEventListener("pointerenter", () => near(name));
    node.addEventListener("pointerleave", () => near(null));
    return node;
  });
  // Who is near one that is pointed at.
  function near(name) {
    byId("calls").classList.toggle("near", name !== null);
    const seen = new Set([name]);
    for (const { from, to, line } of lines) {
      const isOn = from === name || to === name;
      line.classList.toggle("on", isOn);
      if (isOn) seen.add(from).add(to);
    }
    for (const node of nodes) node.classList.toggle("on", seen.has(node.key));
  }
  byId("calls").classList.remove("near");
  where.style.height = `${height}px`;
  where.replaceChildren(svg, ...nodes);
  say(byId("graph-note"), graph.more > 0 ? `and ${graph.more} more` : "");
}

// --- the head, and when all of it is drawn

function showTotals(found) {
  let [healthy, flight, rate] = [0, 0, 0];
  for (const [key, pod] of pods) {
    healthy += pod.status === "healthy";
    flight += loadOf(key)[0];
    rate += loadOf(key)[1];
  }
  const totals = { services: found.length, pods: pods.size, healthy, flight, rate, revision };
  for (const [name, value] of Object.entries(totals)) say(byId(`total-${name}`), value);
  const most = Math.max(1, ...rates);
  // A few points are no line.
  const shown = rates.length < 8 ? [] : rates;
  const points = shown.map((rate, at) => `${60 - rates.length + at},${19 - (18 * rate) / most}`);
  byId("spark").firstElementChild.setAttribute("points", points.join(" "));
}

function draw() {
  const found = services();
  showTotals(found);
  showGraph(found);
  showServices(found);
}

let planned = false;
function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    draw();
  });
}

function show(name, text) {
  const link = byId("link");
  link.className = name;
  say(link, text);
  plan();
}

new ResizeObserver(plan).observe(byId("graph"));
window.addEventListener("resize", plan);
follow();
