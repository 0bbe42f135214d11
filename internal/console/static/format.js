// How figures look. Nothing measured is a dash, never a zero.

const none = "–";

export function count(n) {
  if (n < 10_000) return String(n);
  if (n < 1_000_000) return (n / 1000).toFixed(n < 100_000 ? 1 : 0) + " k";
  return (n / 1_000_000).toFixed(1) + " M";
}

export function millis(ms) {
  if (ms === null || ms === undefined) return none;
  if (ms < 10) return ms.toFixed(1) + " ms";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60_000) return (ms / 1000).toFixed(1) + " s";
  return duration(ms);
}

export function duration(ms) {
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60);
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h} h ${two(m % 60)} m` : m ? `${m} m ${two(s % 60)} s` : `${s} s`;
}

export function bytes(n) {
  if (n < 1000) return n + " B";
  if (n < 1_000_000) return (n / 1000).toFixed(1) + " kB";
  return (n / 1_000_000).toFixed(1) + " MB";
}

export function rate(n) {
  return n < 10 ? n.toFixed(1) : String(Math.round(n));
}

export function share(part, whole) {
  if (!whole) return none;
  const percent = (part / whole) * 100;
  // 100 % is said only when it is all.
  return (part < whole ? Math.min(99.9, percent).toFixed(1) : "100") + " %";
}

// plane tells in words what happens to one kind of traffic.
export function plane(p) {
  if (p.cut) return { state: "cut", mark: "✕", text: "cut" };
  const parts = [];
  if (p.delayMs || p.jitterMs) parts.push(millis(p.delayMs) + (p.jitterMs >= 0.5 ? ` +${Math.round(p.jitterMs)}` : ""));
  if (p.loss) parts.push(`loses ${Math.round(p.loss * 1000) / 10} %`);
  const text = parts.join(", ") || "no delay";
  return p.changed ? { state: "slow", mark: "▲", text } : { state: "ok", mark: "✓", text };
}
