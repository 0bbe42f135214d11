import { el, text, attr } from "./dom.js";
import { bytes, count, millis, plane } from "./format.js";
import { spark } from "./spark.js";

const delays = [[0, "no delay"], [50, "50 ms"], [150, "150 ms"], [500, "500 ms"], [1000, "1 s"], [3000, "3 s"]];
const losses = [[0, "no loss"], [0.01, "lose 1 %"], [0.05, "lose 5 %"], [0.2, "lose 20 %"], [0.5, "lose 50 %"]];

// choice is a list of values that also shows one it does not have. When the
// planes differ it shows that.
function choice(label, options, unit, change) {
  const other = el("option", { hidden: true, disabled: true });
  const select = el("select", { ariaLabel: label }, other, ...options.map(([v, name]) => el("option", { value: v }, name)));
  let sending = false;
  select.addEventListener("change", async () => {
    sending = true;
    await change(Number(select.value));
    sending = false;
  });
  return {
    select,
    show(values) {
      if (sending) return; // a state from before the choice would take it back for a moment
      const same = values.every((v) => v === values[0]);
      const known = same && options.some(([v]) => v === values[0]);
      if (!known) {
        text(other, same ? unit(values[0]) : "differs");
        other.value = "other";
      }
      const want = known ? String(values[0]) : "other";
      if (select.value !== want) select.value = want;
    },
  };
}

function row(link, act, planeNow) {
  const { from, to } = link;
  const name = `${from} to ${to}`;
  const calls = el("span", { className: "chip" }), replication = el("span", { className: "chip" });
  const stream = el("span", { className: "small" });
  const lag = el("b", {}, "–"), behind = el("span", { className: "small" });
  const lagSpark = spark(100);
  let now = link;

  const planes = () => {
    const which = planeNow();
    return which === "all" ? [now.calls, now.replication] : [now[which]];
  };
  const alter = (change, said) => act(null, [{ kind: "link", from, to, plane: planeNow(), ...change }], said);
  const cut = el("button", { type: "button", className: "cut" });
  cut.addEventListener("click", () => {
    const on = !planes().every((p) => p.cut);
    act(cut, [{ kind: "link", from, to, plane: planeNow(), cut: on }], `${name} ${on ? "cut" : "joined"}`);
  });
  const delay = choice(`Delay of ${name}`, delays, millis, (v) => alter({ delayMs: v }, `${name} delayed by ${v} ms`));
  const loss = choice(`Loss on ${name}`, losses, (v) => `lose ${Math.round(v * 1000) / 10} %`, (v) => alter({ loss: v }, `${name} loses ${Math.round(v * 100)} %`));
  const heal = el("button", { type: "button", ariaLabel: `Heal ${name}` }, "Heal");
  heal.addEventListener("click", () => act(heal, [{ kind: "heal", from, to }], `${name} healed`));

  // Where the table is drawn as cards, browsers forget that it is one: the roles
  // say it again.
  const cell = (...children) => el("td", { role: "cell" }, ...children);
  const root = el("tr", { id: `link-${from}-${to}`, role: "row" },
    el("th", { scope: "row", role: "rowheader" }, from, el("span", { className: "arrow", ariaHidden: "true" }, " → "), el("span", { className: "unseen" }, " to "), to),
    cell(calls), cell(replication, stream), cell(el("div", { className: "lag" }, el("div", {}, lag, behind), lagSpark.root)),
    cell(el("div", { className: "row" }, cut, delay.select, loss.select, heal)));

  return {
    root,
    clear() { lagSpark.clear(); },
    show(l, sample) {
      now = l;
      for (const [chip, p] of [[calls, plane(l.calls)], [replication, plane(l.replication)]]) {
        attr(chip, "data-state", p.state);
        text(chip, `${p.mark} ${p.text}`);
      }
      text(stream, (l.connected ? "" : "down, ") + (l.heardMs === null ? "never heard" : `heard ${millis(l.heardMs)} ago`));
      attr(stream, "title", [`sent ${count(l.sentEntries)} entries`, `unacknowledged ${bytes(l.unackedBytes)}`, `${l.resyncs} resyncs`, `${l.pulls} pulls`, l.lastError && `last error: ${l.lastError}`].filter(Boolean).join("\n"));
      attr(stream, "data-state", l.connected ? "ok" : "cut");
      text(lag, millis(l.lagMs));
      text(behind, l.lagMs === null ? "not known" : `${count(l.lagEntries)} behind`);
      if (sample) lagSpark.push(l.lagMs);
      this.controls();
    },
    controls() {
      const which = planeNow(), all = planes();
      const isCut = all.every((p) => p.cut);
      const what = which === "all" ? "" : " " + which;
      text(cut, isCut ? `Join${what}` : `Cut${what}`);
      attr(cut, "aria-label", isCut ? `Join${what} again from ${name}` : `Cut${what} from ${name}`);
      attr(cut, "class", isCut ? "cut main" : "cut danger");
      delay.show(all.map((p) => p.delayMs));
      loss.show(all.map((p) => p.loss));
      heal.disabled = !now.calls.changed && !now.replication.changed;
    },
  };
}

export function linkTable(body, fieldset, act) {
  let rows = new Map();
  const planeNow = () => fieldset.querySelector("input:checked").value;
  fieldset.addEventListener("change", () => rows.forEach((r) => r.controls()));
  return {
    clear() { rows.forEach((r) => r.clear()); },
    show(state, sample) {
      const key = (l) => `${l.from} ${l.to}`;
      if (state.links.map(key).join() !== [...rows.keys()].join()) {
        rows = new Map(state.links.map((l) => [key(l), row(l, act, planeNow)]));
        body.replaceChildren(...[...rows.values()].map((r) => r.root));
      }
      for (const l of state.links) rows.get(key(l)).show(l, sample);
    },
  };
}
