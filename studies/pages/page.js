"use strict";
/* Draws each plot of the page in the colours of its scheme, and again when the scheme or the width changes. */
(() => {
  const DARK = /*DARK*/ {};
  const dark = matchMedia("screen and (prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px), (max-height: 450px)"); /* a phone, upright or on its side */
  const touch = matchMedia("(hover: none)");
  const PAGE_WIDTH = 680; /* pixels between the margins of a printed page */
  const hidden = new Set();
  let printing = false;

  const recoloured = (text) =>
    /^(#[0-9a-f]{6}|rgba\([\d., ]+\))$/.test(text) ? text.replace(/#[0-9a-f]{6}|\d+, \d+, \d+/, (found) => DARK[found] ?? found) : text;
  const inDark = (value) => {
    if (typeof value === "string") return recoloured(value);
    if (Array.isArray(value)) return value.map(inDark);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, inDark(each)]));
  };
  const merged = (value, change) => {
    if (change === null || typeof change !== "object" || Array.isArray(change)) return change;
    const found = { ...value };
    for (const [name, each] of Object.entries(change)) found[name] = merged(found[name], each);
    return found;
  };
  const fitted = (value) => (narrow.matches && value.meta?.narrow ? merged(value, value.meta.narrow) : value);

  const draw = (source) => {
    const read = JSON.parse(source.textContent);
    const { data, layout } = dark.matches && !printing ? inDark(read) : read;
    const traces = data.map(fitted).map((each) => (hidden.has(each.legendgroup) ? { ...each, visible: false } : each));
    const size = printing ? { width: PAGE_WIDTH, height: 360 } : {};
    const bar = touch.matches ? false : "hover";
    return Plotly.react(source.dataset.plot, traces, { ...fitted(layout), ...size },
      { displaylogo: false, responsive: true, displayModeBar: bar, doubleClick: "autosize" });
  };
  const sources = [...document.querySelectorAll("script[data-plot]")];
  const drawAll = () => sources.forEach(draw);

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  };
  const offer = (source) => {
    const picked = source.parentElement.querySelector(".picked");
    if (!picked) return;
    const [hint, command, copy] = ["span", "code", "button"].map((name) => picked.querySelector(name));
    document.getElementById(source.dataset.plot).on("plotly_click", ({ points }) => {
      if (points[0].customdata === undefined) return;
      command.textContent = picked.dataset.command + points[0].customdata;
      hint.hidden = true;
      command.hidden = copy.hidden = false;
    });
    copy.addEventListener("click", () => {
      select(command);
      navigator.clipboard ? navigator.clipboard.writeText(command.textContent).catch(() => document.execCommand("copy")) : document.execCommand("copy");
    });
  };

  /* Round numbers of a first view are few in another: plotly's then, with the K of all other pages. */
  const KILO = Object.fromEntries(Array.from({ length: 9999 }, (_, place) => [`${(place + 1) / 10}k`, `${(place + 1) / 10}K`]));
  const retick = (source) => {
    const plot = document.getElementById(source.dataset.plot);
    plot.on("plotly_relayout", (change) => {
      const moved = new Set(Object.keys(change).map((name) => name.match(/^([xy]axis)\d*\.(?:auto)?range/)?.[1]));
      const axes = Object.keys(plot.layout).filter((name) => moved.has(name.replace(/\d/g, "")) && plot.layout[name].tickmode === "array");
      const ticks = { tickmode: "auto", tickformat: "~s", labelalias: KILO };
      const changed = axes.flatMap((axis) => Object.entries(ticks).map(([name, value]) => [`${axis}.${name}`, value]));
      if (changed.length) Plotly.relayout(plot, Object.fromEntries(changed));
    });
  };

  for (const button of document.querySelectorAll("button[data-group]")) {
    button.addEventListener("click", () => {
      const group = button.dataset.group, shown = hidden.delete(group);
      if (!shown) hidden.add(group);
      document.querySelectorAll("button[data-group]").forEach((each) => {
        if (each.dataset.group === group) each.setAttribute("aria-pressed", String(shown));
      });
      for (const plot of sources.map((source) => document.getElementById(source.dataset.plot))) {
        const traces = plot.data.flatMap((trace, place) => (trace.legendgroup === group ? [place] : []));
        if (traces.length) Plotly.restyle(plot, { visible: shown }, traces); /* which keeps a zoom */
      }
    });
  }
  drawAll();
  sources.forEach(offer);
  sources.forEach(retick);
  for (const query of [dark, narrow, touch]) query.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("details").forEach((each) => { each.open = true; });
    drawAll();
  });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
})();
