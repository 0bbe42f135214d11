import { el, text, attr } from "./dom.js";
import { millis } from "./format.js";

const shownReceipts = 3, shownNotes = 12;
const time = (at) => new Date(at).toLocaleTimeString([], { hour12: false });

// What each step of a switchover is, and which of its times says that it is over.
const steps = [
  ["arming", "armedMs", "the next primary renews its epoch and has caught up"],
  ["draining", "begunMs", "the old one stops for good, the next one has all of it and begins"],
  ["repointing", "endedMs", "the others follow it"],
];

function lease(root) {
  const holder = el("b", { className: "holder" }, "–"), held = el("span", { className: "chip" });
  const fields = {};
  const row = (key, label, hint) => {
    fields[key] = el("dd", {}, "–");
    return el("div", hint ? { title: hint } : {}, el("dt", {}, label), fields[key]);
  };
  const left = el("span");
  root.append(
    el("p", { className: "chips" }, holder, held),
    el("div", { className: "lasts", ariaHidden: "true" }, left),
    el("dl", { className: "figures" },
      row("epoch", "Epoch", "it grows with each primary"),
      row("lasts", "Lasts unless renewed", "by the last renewal that a majority agreed to"),
      row("since", "Since"),
      row("leader", "Quorum led by", "kept away from the primary, so that one death costs one election less")),
    el("p", { className: "small why" }));
  const why = root.lastElementChild;
  let most = 1;
  return (c) => {
    text(holder, c.holder);
    attr(held, "data-state", c.held ? "ok" : "cut");
    text(held, c.held ? "✓ holds the lease" : "✕ holds no lease");
    most = Math.max(most, c.lastsMs);
    left.style.width = `${Math.round((c.lastsMs / most) * 100)}%`;
    attr(left, "data-state", c.lastsMs > most / 3 ? "ok" : "slow");
    text(fields.epoch, String(c.epoch));
    text(fields.lasts, c.lastsMs > 0 ? `${(c.lastsMs / 1000).toFixed(1)} s` : "over");
    text(fields.since, time(c.since));
    text(fields.leader, c.leader || "nobody");
    text(why, c.ending ?? "");
    attr(why, "title", c.ending ?? "");
  };
}

function names(root) {
  const heading = el("p", { className: "name" }), list = el("dl", { className: "figures" });
  root.append(heading, list, el("p", { className: "small" }, "Asked by DNS, each Region's own server."));
  let rows = new Map();
  return (c) => {
    text(heading, c.name);
    if (c.names.map((n) => n.region).join() !== [...rows.keys()].join()) {
      rows = new Map(c.names.map((n) => [n.region, el("dd")]));
      list.replaceChildren(...[...rows].map(([region, dd]) => el("div", {}, el("dt", {}, region), dd)));
    }
    for (const n of c.names) {
      const dd = rows.get(n.region);
      text(dd, n.problem ? `✕ ${n.problem}` : `→ ${n.writer} (TTL ${n.ttlMs / 1000})`);
      attr(dd, "title", n.problem ?? "");
      attr(dd, "data-state", n.problem ? "cut" : n.writer === c.holder ? "ok" : "slow");
    }
  };
}

function switchover(root) {
  const what = el("p", {}, "None was asked for yet.");
  const list = el("ol", { className: "steps" });
  const rows = steps.map(([, , words]) => {
    const mark = el("span", { className: "mark", ariaHidden: "true" }, "·"), at = el("span", { className: "at" });
    list.append(el("li", {}, mark, el("span", {}, words), at));
    return { root: list.lastElementChild, mark, at };
  });
  root.append(what, list);
  return ({ handover: h }) => {
    if (!h) return;
    const failed = h.step === "failed";
    text(what, `${h.from} → ${h.to}, epoch ${h.epoch}: ${h.step}${h.why ? `, ${h.why}` : ""}`);
    let before = 0, reached = true;
    rows.forEach((r, i) => {
      const ms = failed && i === 2 ? null : h[steps[i][1]];
      const over = ms !== null, now = !over && reached && !failed;
      attr(r.root, "data-state", over ? "ok" : now ? "slow" : "none");
      text(r.mark, over ? "✓" : now ? "…" : failed && reached ? "✕" : "·");
      text(r.at, over ? `+${millis(ms - before)}` : "");
      if (over) before = ms; else reached = false;
    });
  };
}

function receipts(root) {
  const rows = Array.from({ length: shownReceipts }, () => {
    const what = el("span"), state = el("span", { className: "chip" }), counts = el("span", { className: "small" });
    const li = el("li", {}, what, state, counts);
    return { li, what, state, counts };
  });
  const none = el("p", { className: "empty" }, "No primary was lost.");
  root.append(none, el("ol", { className: "receipts" }, ...rows.map((r) => r.li)));
  return (c) => {
    none.hidden = c.receipts.length > 0;
    rows.forEach(({ li, what, state, counts }, i) => {
      const r = c.receipts[i];
      li.hidden = !r;
      if (!r) return;
      const n = (fate) => r.counts[fate] ?? 0;
      text(what, `epoch ${r.epoch}, ${r.from} → ${r.to}`);
      const gone = n("lost") || n("unknown");
      attr(state, "data-state", r.open ? "slow" : gone ? "cut" : "ok");
      text(state, r.open ? "▲ open" : gone ? "✕ complete" : "✓ complete");
      text(counts, r.open && !n("recovered") ? `what ${r.from} had alone is not known before it is back`
        : `${n("recovered")} recovered, ${n("superseded")} superseded, ${n("lost")} lost, ${n("unknown")} unknown`);
      attr(li, "title", r.note ?? "");
    });
  };
}

function notes(root) {
  const list = el("ol", { className: "notes", tabIndex: 0, ariaLabel: "Last decisions" });
  root.append(list);
  let newest = -1;
  return (c) => {
    const first = c.notes[0]?.seq ?? 0;
    if (first === newest) return;
    newest = first;
    list.replaceChildren(...c.notes.slice(0, shownNotes).map((n) => el("li", {},
      el("time", { dateTime: n.at }, time(n.at)), el("b", {}, [n.kind, n.region].filter(Boolean).join(" ")), el("span", {}, n.text))));
  };
}

// controlPanel shows what members of the control plane agreed on; nothing where there is
// none.
export function controlPanel(root) {
  const cards = root.querySelector(".cards");
  const shows = [["Lease", lease], ["The writer's name", names], ["Last switchover", switchover], ["Receipts of lost primaries", receipts], ["Last decisions", notes]]
    .map(([heading, make]) => {
      const card = el("article", { className: "card" }, el("h3", {}, heading));
      cards.append(card);
      return make(card);
    });
  return {
    show({ control }) {
      root.hidden = !control;
      if (control) for (const show of shows) show(control);
    },
  };
}
