// Stacked areas of each genre's probability over time, driving the audio element of a player.
const SVG = "http://www.w3.org/2000/svg";
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function element(name, kind, text = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text; // names are never markup
  return made;
}

function areas(lane, total) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const ground = lane.starts.map(() => 0);
  lane.genres.forEach((genre, k) => {
    const upper = [], lower = [];
    lane.starts.forEach((start, n) => {
      const end = n + 1 < lane.starts.length ? lane.starts[n + 1] : lane.end;
      const top = ground[n] + lane.proba[n][k];
      for (const at of [start, end]) {
        upper.push(`${(1000 * at) / total},${100 - 100 * top}`);
        lower.unshift(`${(1000 * at) / total},${100 - 100 * ground[n]}`);
      }
      ground[n] = top;
    });
    const area = document.createElementNS(SVG, "polygon");
    area.setAttribute("points", [...upper, ...lower].join(" "));
    area.setAttribute("fill", lane.colours[k]);
    svg.appendChild(area);
  });
  return svg;
}

export default function ({ data, parentElement }) {
  const slider = parentElement.querySelector(".slider");
  const lanes = parentElement.querySelector(".lanes");
  const said = parentElement.querySelector(".said");
  const legend = parentElement.querySelector(".legend");
  const cursor = parentElement.querySelector(".cursor");
  const total = data.duration_s;
  const audio = () => document.querySelector(`.st-key-${data.player} audio`);
  let place = 0, frame = 0;

  lanes.replaceChildren(...data.lanes.map((lane) => {
    const box = element("div", "lane");
    const picture = element("div", data.lanes.length > 1 ? "areas low" : "areas");
    picture.appendChild(areas(lane, total));
    for (const name of lane.names) {
      const written = element("span", "name", name.genre);
      written.style.left = `${(100 * name.at_s) / total}%`;
      written.style.top = `${100 - 100 * name.height}%`;
      picture.appendChild(written);
    }
    if (data.lanes.length > 1) box.appendChild(element("div", "title", lane.title));
    box.appendChild(picture);
    return box;
  }));
  const colours = new Map(data.lanes.flatMap((lane) => lane.genres.map((g, k) => [g, lane.colours[k]])));
  legend.replaceChildren(...[...colours].map(([genre, colour]) => {
    const one = element("span", "genre", genre);
    one.style.setProperty("--colour", colour);
    return one;
  }));

  const heard = (lane, s) => {
    let n = lane.starts.findLastIndex((start) => start <= s + 1e-6);
    n = Math.max(0, n);
    const best = lane.proba[n].indexOf(Math.max(...lane.proba[n]));
    const words = `${lane.genres[best]} ${Math.round(100 * lane.proba[n][best])} %`;
    return data.lanes.length > 1 ? `${lane.title}: ${words}` : words;
  };
  const show = (s) => {
    place = Math.min(Math.max(s, 0), total);
    const words = `${clock(place)} of ${clock(total)} · ${data.lanes.map((lane) => heard(lane, place)).join(" · ")}`;
    cursor.style.left = `${(100 * place) / total}%`;
    said.textContent = words;
    slider.setAttribute("aria-valuenow", place.toFixed(1));
    slider.setAttribute("aria-valuetext", words);
  };
  const seek = (s) => {
    show(s);
    if (audio()) audio().currentTime = place;
  };
  const tick = () => {
    const player = audio();
    if (player) show(player.currentTime);
    frame = player && !player.paused ? requestAnimationFrame(tick) : 0;
  };
  // Media events do not bubble; they are caught on the way down, whichever element plays by then.
  const follow = (event) => {
    if (event.target === audio() && !frame) tick();
  };
  const events = ["play", "seeked", "timeupdate", "loadedmetadata"];
  events.forEach((name) => document.addEventListener(name, follow, true));

  const at = (event) => {
    const box = lanes.getBoundingClientRect();
    return (total * (event.clientX - box.left)) / box.width;
  };
  slider.onpointerdown = (event) => {
    slider.focus();
    slider.setPointerCapture(event.pointerId);
    seek(at(event));
  };
  slider.onpointermove = (event) => {
    if (event.buttons & 1) seek(at(event));
  };
  const keys = {
    ArrowLeft: () => seek(place - 1), ArrowRight: () => seek(place + 1),
    ArrowDown: () => seek(place - 1), ArrowUp: () => seek(place + 1),
    PageDown: () => seek(place - 10), PageUp: () => seek(place + 10),
    Home: () => seek(0), End: () => seek(total),
    " ": () => audio() && (audio().paused ? audio().play() : audio().pause()),
  };
  slider.onkeydown = (event) => {
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  };
  slider.setAttribute("aria-valuemin", "0");
  slider.setAttribute("aria-valuemax", total.toFixed(1));
  show(audio() ? audio().currentTime : 0);
  return () => {
    cancelAnimationFrame(frame);
    events.forEach((name) => document.removeEventListener(name, follow, true));
  };
}
