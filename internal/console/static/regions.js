import { el, text, attr } from "./dom.js";
import { bytes, count, millis, rate, share } from "./format.js";
import { spark } from "./spark.js";

const rungNames = { normal: "normal", stale: "stale", localOnly: "local-only", sealed: "sealed", refused: "refused" };
const recent = 10; // states that "now" looks back over: five seconds

// worstRung is the worst answer given lately, or null if there was none.
function worstRung(history) {
  const first = history[0], last = history.at(-1);
  let worst = null;
  for (const k of Object.keys(rungNames)) if (last[k] > first[k]) worst = k;
  return worst;
}

function panel(region, act) {
  const fields = {};
  const row = (key, label, hint) => {
    fields[key] = el("dd", {}, "–");
    return el("div", hint ? { title: hint } : {}, el("dt", {}, label), fields[key]);
  };
  const status = el("span", { className: "chip" });
  const role = el("span", { className: "role" });
  const rungNow = el("span", { className: "chip rungnow" });
  const writes = spark(2);
  const shop = el("a", { className: "button", target: "_blank", rel: "noopener" }, "Shop here", el("span", { className: "unseen" }, ` in ${region.name}, new tab`));
  const life = el("button", { type: "button" });
  const off = el("button", { type: "button" });
  const over = el("button", { type: "button", ariaLabel: `Switch over to ${region.name}` }, "Switch over to here");
  const readmit = el("button", { type: "button", ariaLabel: `Readmit ${region.name}`, title: "it lost the lease, and is not promoted by itself before" }, "Readmit");
  const lease = el("p", { className: "row", hidden: true }, over, readmit);
  const rungs = {};
  for (const [k, name] of Object.entries(rungNames)) rungs[k] = el("dd", {}, "0");
  const root = el("article", { className: "panel", ariaLabel: `Region ${region.name}` },
    el("h3", {}, region.name, " ", role),
    el("p", { className: "chips" }, status, rungNow),
    el("div", { className: "wps" }, el("span", {}, fields.wps = el("b", {}, "–"), " writes/s"), writes.root),
    el("dl", { className: "figures" },
      row("p", "Write p50 / p99", "of recent writes by requests served here, waits for other Regions included"),
      row("records", "Records", "sessions and users, ended ones that are remembered too"),
      row("requests", "Requests"),
      row("reads", "Reads in Region", "share of reads that did not leave the Region"),
      row("written", "Writes"),
      row("log", "Log entries"),
      row("pending", "Logouts under way", "that some Region has not heard of yet"),
      row("breakers", "Not asking", "Regions that did not answer and are not asked for now")),
    el("dl", { className: "rungs", ariaLabel: "Answers by rung" },
      ...Object.entries(rungNames).map(([k, name]) => el("div", {}, el("dt", {}, name), rungs[k]))),
    el("p", { className: "row" }, shop, off, life), lease);

  let now = region, cutOff = false, history = [];
  life.addEventListener("click", () => act(life, [{ kind: "region", region: now.name, alive: !now.alive }],
    now.alive ? `${now.name} killed` : `${now.name} revived`));
  off.addEventListener("click", () => act(off, ends.map(([from, to]) => ({ kind: "link", from, to, plane: "all", cut: !cutOff })),
    cutOff ? `${now.name} reconnected` : `${now.name} cut off`));
  over.addEventListener("click", () => act(over, [{ kind: "switchover", region: now.name }], `${now.name} is to take over`));
  readmit.addEventListener("click", () => act(readmit, [{ kind: "readmit", region: now.name }], `${now.name} may be promoted again`));
  let ends = [];

  return {
    root,
    clear() { history = []; writes.clear(); },
    show(r, { links, primary, control }, sample) {
      now = r;
      const mine = links.filter((l) => l.from === r.name || l.to === r.name);
      ends = mine.map((l) => [l.from, l.to]);
      cutOff = mine.length > 0 && mine.every((l) => l.calls.cut && l.replication.cut);
      attr(root, "data-state", r.alive ? "ok" : "dead");
      text(role, r.name === primary ? "primary" : "");
      attr(status, "data-state", r.alive ? (cutOff ? "slow" : "ok") : "cut");
      text(status, r.alive ? (cutOff ? "▲ cut off" : "✓ alive") : "✕ dead");
      if (sample) {
        history.push(r.rungs);
        if (history.length > recent + 1) history.shift();
        writes.push(r.alive ? r.writesPerSecond : null);
      }
      const rung = history.length ? worstRung(history) : null;
      attr(rungNow, "data-state", rung === null ? "none" : rung === "normal" ? "ok" : rung === "refused" ? "cut" : "slow");
      text(rungNow, rung === null ? "no answers now" : `now: ${rungNames[rung]}`);
      text(fields.wps, rate(r.writesPerSecond));
      text(fields.p, r.writeP50Ms === null ? "–" : `${millis(r.writeP50Ms)} / ${millis(r.writeP99Ms)}`);
      text(fields.records, `${count(r.records)} · ${bytes(r.bytes)}`);
      text(fields.requests, count(r.requests));
      text(fields.reads, share(r.readsLocal, r.readsLocal + r.readsRemote));
      text(fields.written, count(r.writes));
      text(fields.log, count(r.logEntries));
      text(fields.pending, String(r.pendingRevocations));
      text(fields.breakers, (r.openBreakers ?? []).join(", ") || "none");
      for (const k of Object.keys(rungNames)) {
        text(rungs[k], count(r.rungs[k]));
        attr(rungs[k].parentElement, "data-some", r.rungs[k] > 0);
      }
      text(life, r.alive ? "Kill" : "Revive");
      attr(life, "aria-label", `${r.alive ? "Kill" : "Revive"} ${r.name}`);
      attr(life, "class", r.alive ? "danger" : "main");
      text(off, cutOff ? "Reconnect" : "Cut off");
      attr(off, "aria-label", cutOff ? `Reconnect ${r.name}` : `Cut ${r.name} off from all others`);
      off.disabled = mine.length === 0;
      lease.hidden = !control;
      over.disabled = !r.alive || control?.holder === r.name;
      readmit.disabled = !control?.left.includes(r.name);
      if (r.shop) attr(shop, "href", r.shop);
      shop.hidden = !r.shop;
    },
  };
}

export function regionPanels(root, act) {
  let panels = new Map();
  return {
    clear() { panels.forEach((p) => p.clear()); },
    show(state, sample) {
      const names = state.regions.map((r) => r.name);
      if (names.join() !== [...panels.keys()].join()) {
        panels = new Map(state.regions.map((r) => [r.name, panel(r, act)]));
        root.replaceChildren(...[...panels.values()].map((p) => p.root));
      }
      for (const r of state.regions) panels.get(r.name).show(r, state, sample);
    },
  };
}
