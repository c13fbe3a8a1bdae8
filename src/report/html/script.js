// What a page can do that paper cannot: zoom, read values, switch policies and stages, replay a cold start. Without this script the
// page says the same in still pictures.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const colourOf = new Map([...data.phases, ...data.causes]);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const pad = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    const whole = Math.round(s);
    return `${pad(Math.floor(whole / 3600))}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
  };
  const seconds = (s) => (s === 0 ? "0s" : s < 1 ? `${Math.round(s * 1000)}ms` : `${s < 100 ? s.toFixed(1) : Math.round(s)}s`);
  const number = (n) => (Number.isInteger(n) ? String(n) : n.toFixed(2));

  // What changes many times a second is said once it rests.
  let saying = null;
  const say = (text) => {
    clearTimeout(saying);
    saying = setTimeout(() => { byId("said").textContent = text; }, 600);
  };

  // Over time --------------------------------------------------------------------------------------------------------
  const live = { policy: 0, hidden: new Set(), plots: [], at: 0, range: [0, data.spanS] };
  const policyOf = () => data.policies[live.policy];
  const order = data.phases.map(([name]) => name);
  const ready = (name) => name === "serving" || name === "held";

  const bandAt = (policy, t) => policy.bands.find(([from, to]) => from <= t && t <= to);
  const bandWords = ([from, to, cause]) => {
    const stuck = order.includes(cause) ? `a replica was on its way, stuck in: ${cause}` : `missing: ${cause}`;
    return `in breach ${clock(from)} to ${clock(to)} (${seconds(to - from)}), ${stuck}`;
  };

  const reading = (index) => {
    const { line } = policyOf();
    const t = line.at[index];
    const from = index > 0 ? line.at[index - 1] : 0;
    const replicas = line.replicas.filter(([, counts]) => counts[index] > 0).map(([name, counts]) => `${counts[index]} ${name}`);
    const ttft = line.never[index] ? "some never got a first token" : line.ttftP99[index] === null ? "no arrivals" : `ttft p99 ${seconds(line.ttftP99[index])}`;
    const parts = [
      `${clock(from)} to ${clock(t)}`, `${number(line.arrivals[index])} arrivals/s`, `${line.ordered[index]} ordered: ${replicas.join(", ") || "no replica"}`,
      `${line.held[index]} waiting at the gateway, ${line.inReplicas[index]} in replicas`, ttft, `$${line.rate[index].toFixed(2)}/h`,
    ];
    const bands = policyOf().bands.filter(([a, b]) => a < t && b > from);
    if (bands.length) parts.push(bandWords(bands.reduce((x, y) => (y[1] - y[0] > x[1] - x[0] ? y : x))));
    if (line.breached[index]) parts.push(`${line.breached[index]} request${line.breached[index] === 1 ? "" : "s"} breached`);
    return parts.join(" · ");
  };
  const nearest = (t) => {
    const { at } = policyOf().line;
    let low = 0, high = at.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at[middle] < t) low = middle + 1; else high = middle;
    }
    return low;
  };
  const read = (index) => {
    live.at = index;
    byId("live-at").value = index;
    byId("live-at").setAttribute("aria-valuetext", clock(policyOf().line.at[index]));
    byId("live-read").textContent = reading(index);
  };

  const stepped = uPlot.paths.stepped({ align: -1 });
  const bandsPlugin = { hooks: { draw: [(u) => {
    const { ctx } = u;
    for (const [from, to, cause] of policyOf().bands) {
      const a = u.valToPos(from, "x", true), b = Math.max(u.valToPos(to, "x", true), a + 1);
      if (b < u.bbox.left || a > u.bbox.left + u.bbox.width) continue;
      const left = Math.max(a, u.bbox.left), right = Math.min(b, u.bbox.left + u.bbox.width);
      ctx.fillStyle = colourOf.get(cause);
      ctx.fillRect(left, u.bbox.top, right - left, u.bbox.height);
      bandOutline(ctx, left, u.bbox.top, right - left, u.bbox.height);
    }
  }] } };
  const bandOutline = (ctx, left, top, width, height) => {
    if (width < 4) return;
    ctx.strokeStyle = css("--quiet");
    ctx.lineWidth = 1;
    ctx.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
  };
  // Buckets in which a first token never came have no value to draw: they stand above the scale.
  const neverPlugin = { hooks: { draw: [(u) => {
    const { ctx } = u, { at, never } = policyOf().line, ratio = devicePixelRatio;
    if (!never.includes(true)) return;
    const top = u.bbox.top, height = 9 * ratio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, top, u.bbox.width, height);
    ctx.clip();
    ctx.strokeStyle = css("--ink");
    ctx.lineWidth = ratio;
    for (let i = 0; i < at.length; i++) {
      if (!never[i]) continue;
      const first = i;
      while (never[i + 1]) i++;
      const a = u.valToPos(first ? at[first - 1] : 0, "x", true), b = Math.max(u.valToPos(at[i], "x", true), a + 2 * ratio);
      const left = Math.max(a, u.bbox.left), right = Math.min(b, u.bbox.left + u.bbox.width);
      if (right <= left) continue;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, right - left, height);
      ctx.clip();
      ctx.strokeRect(left, top, right - left, height);
      ctx.beginPath();
      // Strokes at the same places whatever the view, so that they do not crawl.
      for (let x = Math.floor((left - height) / (5 * ratio)) * 5 * ratio; x < right; x += 5 * ratio) {
        ctx.moveTo(x, top + height);
        ctx.lineTo(x + height, top);
      }
      ctx.stroke();
      ctx.restore();
    }
    ctx.restore();
    ctx.save();
    ctx.fillStyle = css("--quiet");
    ctx.font = `${11 * ratio}px system-ui`;
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    ctx.fillText(">timeout", u.bbox.left - 4 * ratio, top + height / 2);
    ctx.restore();
  }] } };
  const limitPlugin = (limit) => ({ hooks: { draw: [(u) => {
    if (limit === null) return;
    const y = u.valToPos(limit, "y", true);
    u.ctx.strokeStyle = css("--bad");
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
  }] } });

  const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];
  const lane = (name, height, columns, series, more = {}) => {
    const box = byId("live-lanes");
    box.append(element("p", name, { class: "lane-name" }));
    const holder = element("div", undefined, { class: "lane" });
    box.append(holder);
    const axis = { stroke: css("--quiet"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "11px system-ui" };
    const plot = new uPlot({
      width: box.clientWidth, height, legend: { show: false }, padding: [6, 32, 0, 0],
      cursor: { sync: { key: "time", setSeries: false }, drag: { x: true, y: false }, y: false, points: { show: false } },
      scales: { x: { time: false }, y: { range: (u, low, high) => more.range || [0, Math.max(high || 0, more.least || 1e-9) * (more.above || 1.06)] } },
      axes: [
        { ...axis, size: more.last ? 26 : 6, incrs: timeSteps, space: 64, values: (u, ticks) => ticks.map((t) => (more.last ? clock(t) : "")) },
        { ...axis, size: 56, ...(more.incrs ? { incrs: more.incrs } : {}), values: (u, ticks) => ticks.map((v) => (more.above > 1.1 && v > 0.86 * u.scales.y.max ? "" : more.label ? more.label(v) : number(v))), ...(more.quiet ? { show: true, values: () => [], grid: { show: false } } : {}) },
      ],
      series: [{}, ...series], plugins: more.plugins || [], bands: more.bands,
      hooks: {
        setCursor: [(u) => { if (u.cursor.event && u.cursor.left >= 0) read(nearest(u.posToVal(u.cursor.left, "x"))); }],
        setScale: [(u, key) => {
          if (key !== "x" || live.moving) return;
          zoom(u.scales.x.min, u.scales.x.max);
        }],
      },
    // A bucket's value holds from the end of the one before it, the first from the start of the run.
    }, columns.map((column, i) => [i ? column[0] : 0, ...column]), holder);
    plot.over.addEventListener("dblclick", () => zoom(0, data.spanS));
    live.plots.push(plot);
  };

  const zoom = (from, to) => {
    const least = Math.min(data.spanS, (3 * data.spanS) / Math.max(policyOf().line.at.length, 3));
    let width = Math.min(Math.max(to - from, least), data.spanS);
    from = Math.min(Math.max(from, 0), data.spanS - width);
    live.range = [from, from + width];
    byId("live-shown").textContent = `${clock(from)} to ${clock(from + width)}`;
    live.moving = true;
    for (const plot of live.plots) plot.setScale("x", { min: live.range[0], max: live.range[1] });
    // uPlot sets scales at the end of the turn.
    Promise.resolve().then(() => { live.moving = false; });
  };

  const drawLanes = () => {
    live.plots.forEach((plot) => plot.destroy());
    live.plots = [];
    byId("live-lanes").replaceChildren();
    const wholes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000];
    const { line } = policyOf();
    const at = line.at, ink = css("--ink");
    const one = (colour) => ({ stroke: colour, width: 1.2 });
    lane("arrivals a second", 90, [at, line.arrivals], [one(ink)]);
    const shown = line.replicas.filter(([name]) => !live.hidden.has(name));
    const stack = [...shown.filter(([name]) => ready(name)), ...shown.filter(([name]) => !ready(name)).reverse()];
    const sums = [];
    stack.forEach(([, counts], i) => sums.push(counts.map((count, j) => count + (i ? sums[i - 1][j] : 0))));
    // The highest sum is drawn first, so that each lower one covers what is below it.
    const layers = stack.map(([name], i) => ({ column: sums[i], colour: colourOf.get(name) })).reverse();
    lane("replicas by stage; line: ordered", 150, [at, ...layers.map((l) => l.column), line.ordered],
      [...layers.map((l) => ({ fill: l.colour, stroke: css("--quiet"), width: 0.5, paths: stepped })), { stroke: ink, width: 1.5, paths: stepped }], { least: 1, incrs: wholes });
    lane("requests: in the replicas (blue), waiting at the gateway", 100, [at, line.inReplicas, line.held], [one(css("--link")), one(ink)], { least: 1, incrs: wholes });
    const limit = data.ttftLimitS, never = line.never.includes(true), above = never ? 1.3 : 1.06;
    lane(`time to first token, 99th percentile, by arrival${limit === null ? "" : "; red: SLO"}${never ? "; hatched: some never got one" : ""}`, 110, [at, line.ttftP99], [one(ink)],
      { label: seconds, least: limit || 1e-9, above, plugins: [limitPlugin(limit), neverPlugin] });
    lane("time in breach, by what was missing", 40, [at, at.map(() => 0)], [{ width: 0, stroke: "transparent" }], { range: [0, 1], quiet: true, plugins: [bandsPlugin] });
    lane("dollars an hour", 110, [at, line.rate], [{ ...one(ink), paths: stepped }], { last: true, label: (v) => `$${number(v)}` });
    zoom(...live.range);
  };

  const phaseBoxes = () => {
    const box = byId("live-phases");
    box.replaceChildren(element("legend", "Stages shown"));
    for (const [name] of policyOf().line.replicas) {
      const label = element("label");
      const input = element("input", undefined, { type: "checkbox", value: name });
      input.checked = !live.hidden.has(name);
      input.addEventListener("change", () => {
        if (input.checked) live.hidden.delete(name); else live.hidden.add(name);
        drawLanes();
      });
      const swatch = element("span", undefined, { class: "swatch" });
      swatch.style.background = colourOf.get(name);
      label.append(input, swatch, name);
      box.append(label);
    }
    const causes = [...new Set(policyOf().bands.map(([, , cause]) => cause))].filter((cause) => !order.includes(cause));
    for (const cause of causes) {
      const label = element("span");
      const swatch = element("span", undefined, { class: "swatch" });
      swatch.style.background = colourOf.get(cause);
      label.append(swatch, ` breach: ${cause}`);
      box.append(label);
    }
  };

  const switchPolicy = (index) => {
    live.policy = index;
    byId("live-at").max = policyOf().line.at.length - 1;
    phaseBoxes();
    drawLanes();
    read(Math.min(live.at, policyOf().line.at.length - 1));
  };

  const startLive = () => {
    const drawable = data.policies.map((policy, index) => [policy, index]).filter(([policy]) => policy.line && policy.line.at.length > 1);
    if (!drawable.length) return;
    for (const [policy, index] of drawable) byId("live-policy").append(element("option", policy.name.slice(0, 80), { value: index }));
    byId("live").hidden = false;
    byId("still").hidden = true;
    byId("live-policy").addEventListener("change", (event) => switchPolicy(Number(event.target.value)));
    byId("live-at").addEventListener("input", (event) => {
      const index = Number(event.target.value);
      read(index);
      say(reading(index));
      const t = policyOf().line.at[index], [from, to] = live.range;
      if (t < from || t > to) zoom(t - (to - from) / 2, t + (to - from) / 2);
      // Scales change at the end of the turn, see zoom().
      Promise.resolve().then(() => { for (const plot of live.plots) plot.setCursor({ left: plot.valToPos(t, "x"), top: 1 }, false); });
    });
    const scaled = (factor) => {
      const [from, to] = live.range, t = policyOf().line.at[live.at];
      const middle = from <= t && t <= to ? t : (from + to) / 2, width = (to - from) * factor;
      zoom(middle - width / 2, middle + width / 2);
    };
    const moved = (share) => {
      const [from, to] = live.range;
      zoom(from + (to - from) * share, to + (to - from) * share);
    };
    byId("zoom-in").addEventListener("click", () => scaled(0.5));
    byId("zoom-out").addEventListener("click", () => scaled(2));
    byId("zoom-left").addEventListener("click", () => moved(-0.5));
    byId("zoom-right").addEventListener("click", () => moved(0.5));
    byId("zoom-all").addEventListener("click", () => zoom(0, data.spanS));
    // It starts where most is to be seen: with the policy that was longest in breach, at its first breach.
    const inBreach = ({ bands }) => bands.reduce((sum, [from, to]) => sum + to - from, 0);
    const worst = drawable.reduce((a, b) => (inBreach(b[0]) > inBreach(a[0]) ? b : a))[1];
    byId("live-policy").value = worst;
    switchPolicy(worst);
    const breached = policyOf().bands[0];
    read(breached ? nearest(breached[0]) : 0);
    let width = byId("live-lanes").clientWidth;
    addEventListener("resize", () => {
      if (byId("live-lanes").clientWidth === width) return;
      width = byId("live-lanes").clientWidth;
      drawLanes();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawLanes);
  };

  // A cold start, replayed -------------------------------------------------------------------------------------------
  const replay = { start: null, timer: null };
  const merged = (start) => {
    const rows = [];
    for (const [phase, from, to, waiting] of start.stages) {
      if (!rows.length || rows[rows.length - 1].phase !== phase) rows.push({ phase, pieces: [], from });
      rows[rows.length - 1].pieces.push([from, to, waiting]);
      rows[rows.length - 1].to = to;
    }
    return rows.filter((row) => row.pieces.reduce((sum, [from, to]) => sum + to - from, 0) >= 0.001);
  };
  const showReplay = () => {
    const { start } = replay;
    const share = Number(byId("replay-at").value) / 1000, t = share * start.tookS;
    const rows = merged(start);
    const now = rows.find((row) => row.from <= t && t < row.to);
    const done = rows.filter((row) => row.to <= t).map((row) => `${row.phase} ${seconds(row.pieces.reduce((s, [a, b]) => s + b - a, 0))}`);
    const state = now ? `now: ${now.phase}, for ${seconds(t - now.from)}` : t >= start.tookS ? start.result : "created";
    const text = `${seconds(t)} after the order (${clock(start.atS + t)}) · ${state}${done.length ? ` · done: ${done.join(", ")}` : ""}`;
    byId("replay-read").textContent = text;
    if (!replay.timer) {
      byId("replay-at").setAttribute("aria-valuetext", text);
      if (document.documentElement.dataset.live) say(text);
    }
    const box = byId("replay-stages");
    box.replaceChildren();
    for (const row of rows) {
      const line = element("div", undefined, { class: row === now ? "bar-row now" : "bar-row" });
      const track = element("span", undefined, { class: "track" });
      for (const [from, to, waiting] of row.pieces) {
        for (const [a, b, kind] of [[from, to - waiting, "works"], [to - waiting, to, "waits"]]) {
          const end = Math.min(b, t);
          if (end <= a) continue;
          const bar = element("i", undefined, { class: kind });
          bar.style.cssText = `left:${(100 * a) / start.tookS}%;width:${Math.max((100 * (end - a)) / start.tookS, 0.4)}%;background:${colourOf.get(row.phase)}`;
          track.append(bar);
        }
      }
      const spent = row.pieces.reduce((sum, [a, b]) => sum + Math.max(Math.min(b, t) - a, 0), 0);
      line.append(element("span", row.phase), track, element("span", spent > 0 ? seconds(spent) : ""));
      box.append(line);
    }
  };
  const chooseStart = () => {
    const policy = data.policies[Number(byId("replay-policy").value)];
    replay.start = policy.starts[Number(byId("replay-start").value)];
    showReplay();
  };
  const listStarts = () => {
    const policy = data.policies[Number(byId("replay-policy").value)];
    const list = byId("replay-start");
    list.replaceChildren();
    policy.starts.forEach((start, index) => {
      const after = start.result === "ready" ? `ready after ${seconds(start.tookS)}` : start.result;
      list.append(element("option", `${start.title}: ordered at ${clock(start.atS)}, ${after}`, { value: index }));
    });
    chooseStart();
  };
  const stop = () => {
    clearInterval(replay.timer);
    replay.timer = null;
    byId("replay-play").textContent = "Play";
    showReplay();
  };
  const startReplay = () => {
    const some = data.policies.map((policy, index) => [policy, index]).filter(([policy]) => policy.starts.length);
    if (!some.length) return;
    for (const [policy, index] of some) byId("replay-policy").append(element("option", policy.name.slice(0, 80), { value: index }));
    byId("replay").hidden = false;
    byId("replay-policy").addEventListener("change", listStarts);
    byId("replay-start").addEventListener("change", chooseStart);
    byId("replay-at").addEventListener("input", showReplay);
    byId("replay-play").addEventListener("click", () => {
      if (replay.timer) return stop();
      const slider = byId("replay-at");
      if (Number(slider.value) >= 1000) slider.value = 0;
      byId("replay-play").textContent = "Pause";
      replay.timer = setInterval(() => {
        slider.value = Number(slider.value) + 10;
        if (Number(slider.value) >= 1000) stop(); else showReplay();
      }, 50);
    });
    byId("replay-at").value = 1000;
    listStarts();
  };

  // How old the profile's figures are today.
  for (const cell of document.querySelectorAll("[data-date]")) {
    const days = Math.floor((Date.now() - Date.parse(cell.dataset.date)) / 86_400_000);
    if (days >= 0) cell.textContent += days < 60 ? ` (${days} d old)` : ` (${Math.floor(days / 30)} mo old)`;
  }
  // Paper shows everything; afterwards the page is as it was.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
    opened = [];
  });
  startLive();
  startReplay();
  document.documentElement.dataset.live = "yes";
})();
