"use strict";
// The page of a reviewer. One page is shown, the next one is there with its pictures decoded, and Enter saves: the
// answers are on disk before the next page shows.
const COLUMNS = 10, OPPOSITE = { "+": "-", "-": "+", "?": "+" };
const element = id => document.getElementById(id);
const ready = [];
let page = null, here = 0, shownAt = 0, coming = null, busy = false;

async function ask(path, body) {
  const answer = await fetch(path, body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

function build(found) {
  const figures = found.pictures.map(picture => {
    const figure = document.createElement("figure"), image = new Image(), caption = document.createElement("figcaption");
    figure.dataset.post = picture.post;
    figure.dataset.verdict = picture.verdict;
    image.alt = `Post ${picture.post}`;
    image.src = picture.path;
    caption.textContent = (picture.p === null ? "" : `${picture.p.toFixed(2)} `) + picture.why;
    figure.append(image, caption);
    return figure;
  });
  return { ...found, figures };
}

async function prepare() {
  if (ready.length > 0) return ready.shift();
  const { page: found } = await ask("/next");
  if (found === null) return null;
  const built = build(found);
  await Promise.allSettled(built.figures.map(figure => figure.firstChild.decode()));
  return built;
}

function point(where) {
  here = Math.max(0, Math.min(page.figures.length - 1, where));
  page.figures.forEach((figure, number) => figure.classList.toggle("here", number === here));
}

function show(next, pressed) {
  page = next;
  document.body.classList.toggle("done", page === null);
  const title = element("question");
  if (page === null) {
    title.textContent = "Nothing is left to review.";
    document.body.dataset.page = "done";
    return;
  }
  const tag = document.createElement("b");
  tag.textContent = page.tag;
  title.replaceChildren(page.asked === "-" ? "Does it really show " : "Does it show ", tag, "?");
  element("wiki").textContent = page.wiki || "No wiki page in this release.";
  element("pictures").replaceChildren(...page.figures);
  point(0);
  shownAt = performance.now();
  document.body.dataset.page = page.number;
  if (pressed !== undefined) document.body.dataset.swap = (shownAt - pressed).toFixed(1);
  coming = prepare();
}

const verdicts = () => Object.fromEntries(page.figures.map(figure => [figure.dataset.post, figure.dataset.verdict]));

async function save() {
  const pressed = performance.now();
  const said = { number: page.number, ms: Math.round(pressed - shownAt), verdicts: verdicts() };
  // Most often the next page has been there for long; saving is what Enter waits for.
  const [{ saved }, next] = await Promise.all([ask("/save", said), coming]);
  element("saved").textContent = `${saved} pages saved`;
  show(next, pressed);
}

async function undo() {
  const { page: found } = await ask("/undo", {});
  if (found === null) return;
  // What was on the screen comes after the page that is answered again, and then what was prepared.
  ready.unshift(...[page, await coming].filter(each => each !== null));
  show(build(found));
}

async function skip() {
  const tag = page.tag;
  await ask("/skip", { number: page.number });
  let next = await coming;
  while (next !== null && next.tag === tag) next = await prepare();
  show(next);
}

const mark = verdict => { page.figures[here].dataset.verdict = verdict; };
const KEYS = {
  ArrowRight: () => point(here + 1),
  ArrowLeft: () => point(here - 1),
  ArrowDown: () => point(here + COLUMNS),
  ArrowUp: () => point(here - COLUMNS),
  " ": () => mark(OPPOSITE[page.figures[here].dataset.verdict]),
  "?": () => mark("?"),
  y: () => page.figures.forEach(figure => { figure.dataset.verdict = "+"; }),
  n: () => page.figures.forEach(figure => { figure.dataset.verdict = "-"; }),
  w: () => { element("about").open = !element("about").open; },
  Enter: save, u: undo, s: skip,
};

addEventListener("keydown", async event => {
  const act = KEYS[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (busy || (page === null && event.key !== "u")) return;
  busy = true;
  try {
    await act();
  } catch (error) {
    element("saved").textContent = `Not saved: ${error.message}. Press the key again.`;
  } finally {
    busy = false;
  }
});
element("pictures").addEventListener("click", event => {
  const figure = event.target.closest("figure");
  if (figure) { point(page.figures.indexOf(figure)); KEYS[" "](); }
});
prepare().then(found => show(found)).catch(error => { element("question").textContent = error.message; });
