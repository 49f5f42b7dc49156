// Draws the figures, says which run a point is, sorts and filters tables, and turns the colours over.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");
  const MOST_RUNS = 3;

  // Colours: those of the system until the button is pressed.

  const button = document.getElementById("theme");
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);

  function nameButton() {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
  }

  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameButton();
  });
  systemIsDark.addEventListener("change", nameButton);
  nameButton();

  // Figures. Names and numbers are placed for a wide screen or a narrow one; beyond that a figure follows the page by itself.

  const plots = [...document.querySelectorAll("[data-figure]")];
  const narrow = matchMedia("(max-width: 36rem)");
  const drawn = new Map();
  let drawing = Promise.resolve();

  async function draw(plot) {
    const size = narrow.matches ? "narrow" : "wide";
    const options = {
      mode: "vega-lite",
      actions: false,
      ast: true, // expressions are walked and never compiled: the page's policy allows no code made from strings
      config: data.themes[size],
      defaultStyle: false,
      renderer: "svg",
      tooltip: showTip,
    };
    drawn.get(plot)?.finalize();
    try {
      drawn.set(plot, await vegaEmbed(plot, data.figures[plot.dataset.figure][size], options));
      makeStop(pointsOf(plot), pointsOf(plot)[0]);
    } catch (error) {
      drawn.delete(plot);
      plot.textContent = "This figure could not be drawn; its numbers are in the tables.";
      console.error(error);
    }
  }

  function drawAll() {
    tip.hidden = true;
    drawing = drawing.then(async () => {
      document.body.setAttribute("aria-busy", "true");
      for (const plot of plots) await draw(plot);
      document.body.setAttribute("aria-busy", "false");
    });
  }

  narrow.addEventListener("change", drawAll);
  drawAll();

  // What a point says: itself, and the runs that it is made of. Only text is written, never markup.

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function listed(names, known) {
    const list = document.createElement("dl");
    for (const name of names) list.append(element("dt", name), element("dd", known[name]));
    return list;
  }

  // What its runs share is said once, and then how each differs: whole, three of them are taller than a screen.
  function described(runs) {
    const known = runs.map((run) => data.runs[run] ?? { run });
    const names = Object.keys(known[0]);
    const shared = names.filter((name) => known.every((run) => run[name] === known[0][name]));
    const own = names.filter((name) => !shared.includes(name));
    return [listed(shared, known[0]), ...(own.length ? known.map((run) => listed(own, run)) : [])];
  }

  function fill(value, runs, most) {
    tip.replaceChildren(element("p", value), ...(most ? described(runs.slice(0, most)) : []));
    if (runs.length > most) tip.append(element("p", `Not named here: ${runs.length - most} of its runs`));
  }

  function showTip(handler, event, item, value) {
    tip.hidden = !value;
    if (!value) return;
    const runs = item.datum.runs ?? [];
    // It cannot be scrolled, so it holds as many runs as the screen has room for.
    let most = Math.min(runs.length, MOST_RUNS);
    do fill(value, runs, most);
    while (tip.offsetHeight > innerHeight - 8 && most--);
    // Beside the pointer, on the side where there is room, and never over the edge.
    const beside = (at, size, room) => Math.max(4, Math.min(at + 14 + size < room ? at + 14 : at - 14 - size, room - size - 4));
    tip.style.left = `${beside(event.clientX, tip.offsetWidth, innerWidth)}px`;
    tip.style.top = `${beside(event.clientY, tip.offsetHeight, innerHeight)}px`;
  }

  // By keys a figure is one stop, and arrows go from point to point in the order in which they stand across it or down.

  const POINT = ":is(path, line)[role='graphics-symbol'][aria-label]";
  const STEPS = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowDown: ["y", 1], ArrowUp: ["y", -1] };
  const pointsOf = (plot) => [...plot.querySelectorAll(POINT)];

  function makeStop(points, stop) {
    for (const point of points) point.setAttribute("tabindex", point === stop ? "0" : "-1");
  }

  function inOrder(points, axis) {
    const places = new Map(points.map((point) => [point, point.getBoundingClientRect()]));
    const compare = (one, other, along) => places.get(one)[along] - places.get(other)[along];
    return points.sort((one, other) => compare(one, other, axis) || compare(one, other, axis === "x" ? "y" : "x"));
  }

  function showFocused(point) {
    const { right: clientX, bottom: clientY } = point.getBoundingClientRect();
    // Vega keeps what a mark shows at its element, where its own handler of the pointer finds it too.
    showTip(null, { clientX, clientY }, point.__data__, point.getAttribute("aria-label"));
  }

  for (const plot of plots) {
    plot.addEventListener("focusin", ({ target }) => {
      if (!target.matches(POINT)) return;
      makeStop(pointsOf(plot), target);
      target.setAttribute("aria-describedby", "tip");
      showFocused(target);
    });
    plot.addEventListener("focusout", () => (tip.hidden = true));
    plot.addEventListener("keydown", (event) => {
      const [axis, step] = STEPS[event.key] ?? [];
      if (!axis || !event.target.matches(POINT)) return;
      event.preventDefault();
      const points = inOrder(pointsOf(plot), axis);
      points.at((points.indexOf(event.target) + step) % points.length).focus();
    });
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });
  // What has the focus is scrolled to after it has got it.
  addEventListener(
    "scroll",
    () => {
      if (tip.hidden) return;
      if (document.activeElement.matches(POINT)) showFocused(document.activeElement);
      else tip.hidden = true;
    },
    { passive: true },
  );

  // Tables. What was not measured stays last, whichever way a column is sorted.

  function sort(heading) {
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const numbers = heading.classList.contains("number");
    const compare = (one, other) => {
      if (one === "" || other === "") return (one === "") - (other === "");
      const order = numbers ? one - other : one.localeCompare(other, "en");
      return rising ? order : -order;
    };
    const body = heading.closest("table").tBodies[0];
    const value = (row) => row.cells[heading.cellIndex].dataset.value;
    body.append(...[...body.rows].sort((one, other) => compare(value(one), value(other))));
  }

  for (const pressed of document.querySelectorAll(".sortable thead button")) {
    pressed.addEventListener("click", () => sort(pressed.closest("th")));
  }

  for (const input of document.querySelectorAll("[data-table]")) {
    const rows = document.getElementById(input.dataset.table).tBodies[0].rows;
    const output = input.parentElement.querySelector("output");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent.toLowerCase()).join(" ");
        row.hidden = !words.every((word) => text.includes(word));
      }
      input.parentElement.classList.toggle("idle", !words.length);
      output.textContent = `${[...rows].filter((row) => !row.hidden).length} of ${rows.length}`;
    };
    input.addEventListener("input", filter);
    filter(); // what a browser kept in the field from before
  }

  // On paper nothing can be unfolded.

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const part of folded) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
  });
})();
