// Writes values into the present entry of the browser's history, once its path is the page's:
// Streamlit changes the path some time after the page has begun to run.
async (page, values, before) => {
  const arrived = () => location.pathname.replace(/\/$/, "").endsWith("/" + page);
  for (let k = 0; k < 400 && !arrived(); k++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  if (!arrived()) return;
  const query = new URLSearchParams(location.search);
  for (const [name, text] of Object.entries(values)) {
    if (!query.has(name) || query.get(name) === before[name]) query.set(name, text);
  }
  history.replaceState(history.state, "", location.pathname + "?" + query + location.hash);
}
