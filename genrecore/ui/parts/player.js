// Plays one of several sounds; draws its waveform and what is known about it over time.
// All times are those of the recording, of which a sound may be a part.
const SVG = "http://www.w3.org/2000/svg";
const PLAYS = "genrecore-plays"; // told to the window, so that only one player sounds
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
const LABEL_PX = 52;

const clock = (s, digits = 0) => {
  const rounded = Math.floor(s * 10 ** digits + 1e-6) / 10 ** digits;
  const seconds = (rounded % 60).toFixed(digits);
  return `${Math.floor(rounded / 60)}:${seconds.padStart(digits ? 3 + digits : 2, "0")}`;
};

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind;
  node.textContent = text; // names are never markup
  return node;
}

function drawing(height) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 1000 ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

function areas(lane, across) {
  const svg = drawing(100);
  const ground = lane.starts.map(() => 0);
  lane.genres.forEach((genre, k) => {
    const upper = [], lower = [];
    lane.starts.forEach((start, n) => {
      const end = n + 1 < lane.starts.length ? lane.starts[n + 1] : lane.end;
      const top = ground[n] + lane.proba[n][k];
      for (const at of [start, end]) {
        upper.push(`${1000 * across(at)},${100 - 100 * top}`);
        lower.unshift(`${1000 * across(at)},${100 - 100 * ground[n]}`);
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

function outline(values, height) {
  const n = values.length / 2, upper = [], lower = [];
  for (let k = 0; k < n; k += 1) {
    for (const at of [k, k + 1]) {
      upper.push(`${(1000 * at) / n},${50 - 0.48 * height * values[2 * k + 1]}`);
      lower.unshift(`${(1000 * at) / n},${50.6 - 0.48 * height * values[2 * k]}`);
    }
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", `M${[...upper, ...lower].join("L")}Z`);
  const svg = drawing(100);
  svg.appendChild(path);
  return svg;
}

// The labels of a ruler from one time to another, at round times.
function times(ruler, start, end) {
  const length = end - start, most = Math.max(2, Math.min(8, (ruler.clientWidth || 400) / LABEL_PX));
  const step = STEPS_S.find((s) => length / s <= most) ?? 1800;
  const labels = [];
  for (let k = Math.ceil(start / step - 1e-6); k * step <= end + 1e-6; k += 1) {
    const share = (k * step - start) / length;
    const label = element("span", "", clock(k * step, step < 1 ? 1 : 0));
    label.style.left = `${100 * share}%`;
    label.classList.toggle("first", share < 0.03);
    label.classList.toggle("last", share > 0.97);
    labels.push(label);
  }
  ruler.replaceChildren(...labels);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const find = (name) => parentElement.querySelector(`.${name}`);
  const root = find("player"), slider = find("slider"), wave = find("wave"), ruler = find("ruler");
  const state = (root.state ??= { audios: [], now: false });
  const urls = data.sounds.map((sound) => sound.url);

  // The audio elements stay while their sounds do: a page drawn anew does not interrupt them.
  const isNew = urls.join() !== state.urls;
  if (isNew) {
    state.audios.forEach((audio) => audio.pause());
    state.audios = urls.map((url) => {
      const audio = document.createElement("audio");
      audio.preload = "none";
      audio.src = url;
      return audio;
    });
    find("sounds").replaceChildren(...state.audios);
    Object.assign(state, { urls: urls.join(), sound: 0, loops: false, region: null, equal: true });
  }
  const sound = () => data.sounds[state.sound];
  const audio = () => state.audios[state.sound];
  const start = () => sound().start_s;
  const end = () => sound().start_s + sound().duration_s;
  const across = (at) => Math.min(1, Math.max(0, (at - start()) / sound().duration_s));
  const place = () => Math.min(end(), start() + audio().currentTime);
  const digits = () => (sound().duration_s < 20 ? 1 : 0);
  const is_equal = () => state.equal && data.is_matched;
  const volume = (each) => (is_equal() ? each.matched : each.volume);
  let frame = 0;

  // What is known over time belongs to the first sound, and to the others where they are versions.
  const isKnown = () => data.aligned || state.sound === 0;
  const leaders = (at) => (isKnown() ? data.lanes : []).map((lane) => {
    const n = Math.max(0, lane.starts.findLastIndex((from) => from <= at + 1e-6));
    const best = lane.proba[n].indexOf(Math.max(...lane.proba[n]));
    const words = `${lane.genres[best]} ${Math.round(100 * lane.proba[n][best])} %`;
    return data.lanes.length > 1 ? `${lane.title}: ${words}` : words;
  });
  const write = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };
  const show = () => {
    const at = place(), share = 100 * across(at), plays = !audio().paused;
    find("cursor").style.left = `${share}%`;
    if (data.strip) find("now").style.left = `${(100 * at) / data.strip.total_s}%`;
    wave.querySelector(".played").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    const words = [
      `${clock(at, digits())} of ${clock(end(), digits())}`,
      ...(data.sounds.length > 1 ? [sound().title] : []),
      ...leaders(at),
      ...(isKnown() && data.marks?.stretches.some(([from, to]) => from <= at && at < to) ? [data.marks.title] : []),
      ...(state.region ? [`part ${state.region.map((s) => clock(s, 1)).join("–")}`] : []),
      ...(state.loops ? ["looped"] : []),
    ].join(" · ");
    const excerpt = sound().total_s > sound().duration_s + 0.1;
    write(find("time"), excerpt
      ? `${clock(at, digits())} · ${clock(start(), digits())}–${clock(end(), digits())} of ${clock(sound().total_s)}`
      : `${clock(at, digits())} of ${clock(end(), digits())}`);
    if (slider.getAttribute("aria-valuetext") !== words) slider.setAttribute("aria-valuetext", words);
    slider.setAttribute("aria-valuenow", at.toFixed(1));
    write(find("words"), audio().error
      ? "The sound could not be loaded. Press play to try again."
      : [...leaders(at), ...(state.equal && data.matched ? [data.matched] : [])].join(" · "));
    root.classList.toggle("playing", plays);
    find("play").setAttribute("aria-label", plays ? "Pause" : "Play");
    find("play").title = plays ? "Pause (space)" : "Play (space)";
  };
  const seek = (at) => {
    audio().currentTime = Math.min(Math.max(at - start(), 0), sound().duration_s);
    show();
  };
  const keepInRegion = () => {
    if (!state.loops || !state.region) return;
    if (place() >= state.region[1] - 0.005) seek(state.region[0]);
  };
  const tick = () => {
    keepInRegion();
    show();
    frame = audio().paused ? 0 : requestAnimationFrame(tick);
  };
  const play = () => {
    if (audio().error) audio().load();
    if (state.region && state.loops && place() >= state.region[1] - 0.01) seek(state.region[0]);
    audio().play().catch(() => {}); // a browser may refuse until somebody touches the page
  };
  const toggle = () => (audio().paused ? play() : audio().pause());

  // The whole recording; its part is inside the frame.
  const strip = find("strip"), whole = find("whole");
  const drawStrip = (part) => {
    whole.hidden = !part;
    if (!part) return;
    const { total_s, outline: ends } = data.strip;
    const frame = element("div", "part");
    frame.style.left = `${(100 * part[0]) / total_s}%`;
    frame.style.width = `${(100 * (part[1] - part[0])) / total_s}%`;
    strip.replaceChildren(outline(ends, 1), frame, element("div", "now"));
    const names = [0, total_s, ...part].map((s) => clock(s));
    whole.setAttribute("aria-label",
      `The whole of ${data.name}, ${names[0]} to ${names[1]}; ${names[2]} to ${names[3]} was classified`);
    const isAll = sound().duration_s > total_s - 0.1; // the times stand below the waveform then
    find("times").hidden = isAll;
    if (!isAll) times(find("times"), 0, total_s);
  };

  const draw = () => {
    const largest = Math.max(...data.sounds.map(volume), data.least_reach);
    const height = volume(sound()) / largest;
    const played = outline(sound().outline, height);
    played.classList.add("played");
    const span = (kind, from, to) => {
      const node = element("div", kind);
      node.style.left = `${100 * across(from)}%`;
      node.style.width = `${100 * (across(to) - across(from))}%`;
      return node;
    };
    find("lanes").style.visibility = isKnown() ? "" : "hidden";
    const marks = ((isKnown() && data.marks?.stretches) || []).map(([from, to, strength]) => {
      const node = span("mark", from, to);
      node.style.opacity = 0.15 + 0.6 * strength;
      return node;
    });
    const outside = data.part
      ? [span("outside before", start(), data.part[0]), span("outside after", data.part[1], end())]
      : [];
    const beats = data.beats.map((at) => {
      const node = element("div", "beat");
      node.style.left = `${100 * across(at)}%`;
      return node;
    });
    wave.replaceChildren(...marks, outline(sound().outline, height), played, ...beats, ...outside);
    find("lanes").replaceChildren(...data.lanes.map((lane) => {
      const box = element("div", "lane");
      const picture = element("div", data.lanes.length > 1 ? "areas low" : "areas");
      picture.appendChild(areas(lane, across));
      for (const name of lane.names) {
        const label = element("span", "name", name.genre);
        label.style.left = `${100 * across(name.at_s)}%`;
        label.style.top = `${100 - 100 * name.height}%`;
        picture.appendChild(label);
      }
      if (data.lanes.length > 1) box.appendChild(element("div", "title", lane.title));
      box.appendChild(picture);
      return box;
    }));
    times(ruler, start(), end());
    const region = find("region");
    region.hidden = !state.region;
    if (state.region) {
      region.style.left = `${100 * across(state.region[0])}%`;
      region.style.width = `${100 * (across(state.region[1]) - across(state.region[0]))}%`;
    }
    drawStrip(data.strip?.part);
    find("loop").setAttribute("aria-pressed", state.loops);
    find("match").setAttribute("aria-pressed", state.equal);
    [...find("switch").children].forEach((button, n) => {
      button.setAttribute("aria-pressed", n === state.sound);
    });
    slider.setAttribute("aria-valuemin", start().toFixed(1));
    slider.setAttribute("aria-valuemax", end().toFixed(1));
    state.audios.forEach((each, n) => {
      each.volume = Math.min(1, volume(data.sounds[n]));
      each.loop = state.loops && !state.region;
    });
    show();
  };
  const choose = (n) => {
    if (n === state.sound || !data.sounds[n]) return;
    const last = audio(), plays = !last.paused;
    last.pause();
    state.sound = n;
    if (data.aligned) audio().currentTime = Math.min(last.currentTime, sound().duration_s);
    if (plays) play();
    draw();
  };
  const loop = (loops = !state.loops) => {
    state.loops = loops;
    draw();
  };

  root.style.setProperty("--left", `${data.insets[0]}px`);
  root.style.setProperty("--right", `${data.insets[1]}px`);
  root.setAttribute("aria-label", `Player: ${data.name}`);
  slider.setAttribute("aria-label", `Position in ${data.name}`);
  find("switch").hidden = data.sounds.length < 2;
  find("match").hidden = !data.is_matched;
  find("switch").replaceChildren(...data.sounds.map(({ title }, n) => {
    const letter = String.fromCharCode(65 + n);
    const button = element("button", "", `${letter} · ${title}`);
    button.type = "button";
    button.title = `Hear ${title} (key ${letter})`;
    button.onclick = () => choose(n);
    return button;
  }));
  const colours = new Map(data.lanes.flatMap((lane) => lane.genres.map((g, k) => [g, lane.colours[k]])));
  if (data.marks) colours.set(data.marks.title, "#ec7350");
  find("legend").replaceChildren(...[...colours].map(([name, colour]) => {
    const entry = element("span", "", name);
    entry.style.setProperty("--colour", colour);
    return entry;
  }));
  find("play").onclick = toggle;
  find("loop").onclick = () => loop();
  find("match").onclick = () => {
    state.equal = !state.equal;
    draw();
  };

  const at = (event) => {
    const box = slider.getBoundingClientRect();
    return start() + (sound().duration_s * (event.clientX - box.left)) / box.width;
  };
  slider.onpointerdown = (event) => {
    slider.focus();
    slider.setPointerCapture(event.pointerId);
    seek(at(event));
  };
  slider.onpointermove = (event) => {
    if (event.buttons & 1) seek(at(event));
  };
  let from = null;
  ruler.onpointerdown = (event) => {
    from = Math.min(end(), Math.max(start(), at(event)));
    ruler.setPointerCapture(event.pointerId);
  };
  ruler.onpointermove = (event) => {
    if (from === null || !(event.buttons & 1)) return;
    const to = Math.min(end(), Math.max(start(), at(event)));
    if (Math.abs(to - from) < 0.05) return;
    state.region = [Math.min(from, to), Math.max(from, to)];
    loop(true);
  };
  ruler.onpointerup = (event) => {
    if (from !== null && Math.abs(at(event) - from) < 0.05) { // a click takes the part away
      seek(from);
      state.region = null;
      draw();
    } else if (state.region && (place() < state.region[0] || place() > state.region[1])) {
      seek(state.region[0]);
    }
    from = null;
  };
  let drawn = null; // where a part begins and where it ends, on the strip
  const onStrip = (event) => {
    const box = strip.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
    return data.strip.total_s * Math.min(1, Math.max(0, share));
  };
  const partOf = ([from, to]) => {
    const { total_s, most_s, part } = data.strip;
    if (Math.abs(to - from) > total_s / 100) {
      const other = Math.min(from + most_s, Math.max(from - most_s, to));
      return [Math.min(from, other), Math.max(from, other)];
    }
    const length = part[1] - part[0]; // a click: the same length around it
    const start = Math.min(Math.max(0, to - length / 2), total_s - length);
    return [start, start + length];
  };
  strip.onpointerdown = (event) => {
    drawn = [onStrip(event), onStrip(event)];
    strip.setPointerCapture(event.pointerId);
  };
  strip.onpointermove = (event) => {
    if (!drawn) return;
    drawn[1] = onStrip(event);
    drawStrip(partOf(drawn));
    show();
  };
  strip.onpointerup = () => {
    if (drawn) setTriggerValue("part", partOf(drawn));
    drawn = null;
  };
  strip.onpointercancel = () => {
    drawn = null;
    draw();
  };

  const keys = {
    " ": toggle,
    ArrowLeft: () => seek(place() - 5), ArrowRight: () => seek(place() + 5),
    ArrowDown: () => seek(place() - 1), ArrowUp: () => seek(place() + 1),
    PageDown: () => seek(place() - 10), PageUp: () => seek(place() + 10),
    Home: () => seek(start()), End: () => seek(end()),
    l: () => loop(),
    Escape: () => {
      state.region = null;
      draw();
    },
  };
  root.onkeydown = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === " " && event.target.tagName === "BUTTON") return; // presses the button
    const n = data.sounds.length > 1 && key.length === 1 ? key.charCodeAt(0) - 97 : -1;
    if (!keys[key] && !data.sounds[n]) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has keys of its own
    if (keys[key]) keys[key]();
    else choose(n);
  };

  // Every player hears when another one begins, and so do the browser's own.
  const pauseOthers = (event) => {
    const begun = event.detail ?? event.target;
    state.audios.forEach((each) => each !== begun && each.pause());
  };
  state.audios.forEach((each) => {
    each.onplay = () => {
      window.dispatchEvent(new CustomEvent(PLAYS, { detail: each }));
      document.querySelectorAll("audio, video").forEach((other) => other.pause());
      if (!frame) tick();
    };
    each.onpause = each.onseeked = each.onloadedmetadata = each.onerror = each.onended = show;
    each.ontimeupdate = keepInRegion; // also where nothing is drawn, in a hidden tab
  });
  window.addEventListener(PLAYS, pauseOthers);
  document.addEventListener("play", pauseOthers, true);
  const resized = new ResizeObserver(draw);
  resized.observe(ruler);
  draw();
  const part = data.part?.join();
  if (data.part && (isNew || part !== state.part)) seek(data.part[0]);
  state.part = part;
  if (!audio().paused) tick();
  if (data.now && (isNew || !state.now)) play();
  state.now = data.now;
  return () => {
    cancelAnimationFrame(frame);
    resized.disconnect();
    window.removeEventListener(PLAYS, pauseOthers);
    document.removeEventListener("play", pauseOthers, true);
    setTimeout(() => root.isConnected || state.audios.forEach((each) => each.pause()));
  };
}
