"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("figures"), templates = read("templates");
  const dark = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print");
  let printing = false;
  const theme = () => (dark.matches && !paper.matches && !printing ? "dark" : "light");
  const plots = [...document.querySelectorAll(".plot")];

  const slug = (name) => `genrecore-${name}`.toLowerCase().replace(/[^a-z0-9]+/g, "-");

  // A picture is for a paper or a slide: on white, whatever the theme of the page.
  const save = (format) => async (plot) => {
    const spec = specs[plot.dataset.figure];
    const layout = { ...spec.layout, template: templates.light, paper_bgcolor: "#ffffff" };
    const size = { width: plot.clientWidth, height: plot.clientHeight };
    const url = await Plotly.toImage({ data: spec.data, layout }, { format, scale: 2, ...size });
    const link = document.createElement("a");
    link.href = url;
    link.download = `${slug(plot.dataset.figure)}.${format}`;
    link.click();
  };
  const button = (format) => ({
    name: `Save as ${format.toUpperCase()}`,
    icon: Plotly.Icons[format === "svg" ? "disk" : "camera"],
    click: save(format),
  });
  const config = {
    displaylogo: false,
    responsive: true,
    modeBarButtons: [[button("svg"), button("png")], ["zoom2d", "pan2d", "resetScale2d"]],
  };

  const draw = (plot) => {
    const spec = specs[plot.dataset.figure];
    const layout = { ...spec.layout, template: templates[theme()] };
    plot.dataset.theme = theme();
    const data = theme() === "light" ? spec.data
      : spec.data.map((trace) => ({ ...trace, ...trace.meta?.dark }));
    return Plotly.react(plot, data, layout, config);
  };
  const update = () => {
    for (const plot of plots) if (plot.dataset.theme !== theme()) draw(plot);
  };
  dark.addEventListener("change", update);
  paper.addEventListener("change", update);
  addEventListener("beforeprint", () => { printing = true; update(); });
  addEventListener("afterprint", () => { printing = false; update(); });

  // One after the other, so that the page can be read meanwhile.
  const next = (place) => {
    if (place >= plots.length) {
      document.documentElement.dataset.drawn = "yes";
      return;
    }
    if (!plots[place].dataset.theme) draw(plots[place]);
    setTimeout(next, 0, place + 1);
  };
  next(0);
})();
