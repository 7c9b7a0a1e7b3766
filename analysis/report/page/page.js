// Turns the still page into one that people turn. Everything that it shows is packed into the page; nothing is fetched.
"use strict";
(async () => {
  const PER_PAGE = 4;
  const NARROW = 480; // pixels below which labels are cut shorter

  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };

  if (!("DecompressionStream" in window)) return; // an old browser keeps the still page
  await new Promise((resume) => requestAnimationFrame(() => setTimeout(resume, 0))); // the still page is painted first
  const data = JSON.parse(await unpacked("packed-data"));
  document.documentElement.classList.add("scripts");

  // --- where a number comes from
  const panel = document.getElementById("source");
  const tell = (number) => {
    const key = number.dataset.key;
    const places = data.numbers[key].map((at) => data.sources[at]);
    const list = make("ul", undefined, { tabindex: "0" });
    for (const [digest, step, output] of places) list.append(make("li", `${step}, ${output}, SHA-256 ${digest}`));
    const close = make("button", "Close", { type: "button" });
    close.addEventListener("click", () => panel.hidePopover());
    const title = make("strong", `${number.textContent}`);
    panel.replaceChildren(title, make("div", `${key}, worked out from ${places.length} outputs:`), list, close);
    panel.showPopover();
  };
  for (const number of document.querySelectorAll("data[data-key]")) {
    number.setAttribute("tabindex", "0");
    number.setAttribute("role", "button");
    number.addEventListener("click", () => tell(number));
    number.addEventListener("keydown", (event) => {
      if (event.key === "Enter") tell(number);
    });
  }

  // --- every greedy answer
  const viewer = document.querySelector(".viewer");
  let showItem = () => {};
  if (viewer) {
    const cells = data.cells; // [cell, model, arm, seed, draw, digest]
    const rows = data.answers.map(([cell, item, way, said, text]) => {
      const [name, model, arm, seed, draw, digest] = cells[cell];
      const [id, topic, situation] = data.items[item];
      return { cell: name, model, arm: way ? `${arm}, ${way}` : arm, seed, draw, digest, item: id, topic, situation, said, text };
    });
    const form = make("form");
    const wanted = {};
    const list = make("ol", undefined, { "aria-live": "polite" });
    const more = make("button", "More", { type: "button" });
    const count = make("p");
    let shown = PER_PAGE;
    const draw = () => {
      const words = (wanted.words || "").toLowerCase();
      const found = rows.filter(
        (row) =>
          ["model", "arm", "seed", "topic", "item", "said"].every((name) => !wanted[name] || row[name] === wanted[name]) &&
          (!words || row.text.toLowerCase().includes(words)),
      );
      count.textContent = `${found.length} of ${rows.length} answers`;
      list.replaceChildren(
        ...found.slice(0, shown).map((row) => {
          const entry = make("li");
          const quote = make("blockquote", row.text, { class: `arm-${row.arm.split(",")[0]}` });
          quote.prepend(make("span", `${row.arm}: ${row.said}`, { class: "who" }));
          const where = `${row.item}, ${row.cell}, rows SHA-256 ${row.digest}`;
          entry.append(make("div", row.situation), quote, make("small", where));
          return entry;
        }),
      );
      more.hidden = found.length <= shown;
    };
    const choose = (name, options) => {
      const label = make("label", name);
      const select = make("select", undefined, { name });
      select.append(make("option", "all", { value: "" }), ...options.map((each) => make("option", each, { value: each })));
      select.addEventListener("change", () => {
        wanted[name] = select.value;
        shown = PER_PAGE;
        draw();
      });
      label.append(select);
      form.append(label);
      return select;
    };
    const selects = {};
    for (const name of ["model", "arm", "seed", "topic", "item", "said"]) {
      const options = [...new Set(rows.map((row) => row[name]))].filter(Boolean);
      if (options.length > 1) selects[name] = choose(name, options);
    }
    const words = make("input", undefined, { type: "search", name: "words" });
    const label = make("label", "words");
    label.append(words);
    form.append(label);
    words.addEventListener("input", () => {
      wanted.words = words.value;
      draw();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => {
      shown += PER_PAGE;
      draw();
    });
    viewer.append(form, count, list, more);
    showItem = (item) => {
      if (!selects.item) return;
      selects.item.value = wanted.item = item;
      draw();
      viewer.scrollIntoView({ behavior: "smooth" });
    };
    draw();
  }

  // --- charts
  const library = make("script", await unpacked("packed-library"));
  document.body.append(library);
  const turn = async (figure) => {
    const spec = data.charts[figure.dataset.name];
    const still = figure.querySelector(".still");
    const place = make("div", undefined, { class: "turn" });
    still.before(place);
    for (const view of spec.vconcat || []) view.width = place.clientWidth - spec.usermeta.beside; // views of one chart know no container
    if (!spec.vconcat) spec.width = "container";
    spec.description = still.getAttribute("aria-label");
    if (place.clientWidth < NARROW) {
      spec.config.axis.labelLimit = 84;
      spec.config.legend.columns = 2;
    }
    still.hidden = true;
    try {
      const { view } = await window.vegaEmbed(place, spec, { mode: "vega-lite", renderer: "svg", actions: false, logLevel: 1 });
      view.addEventListener("click", (_event, mark) => {
        if (mark && mark.datum && mark.datum.situation) showItem(mark.datum.item);
      });
      figure.dataset.turned = "yes";
    } catch (error) {
      place.remove();
      still.hidden = false;
      console.error(error);
    }
  };
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        near.unobserve(entry.target);
        turn(entry.target);
      }
    },
    { rootMargin: "600px" },
  );
  for (const figure of document.querySelectorAll("figure[data-name]")) near.observe(figure);
  document.documentElement.dataset.ready = "yes";
})();
