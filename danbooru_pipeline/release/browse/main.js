// The browser of a release: what the address asks for is shown, and what is typed or pressed changes the address.
// `#q=SEARCH&r=RATINGS&p=PAGE` is a page of a search, with `post=ID` a post that was found by it.

import { Alike } from "./alike.js";
import { Details } from "./details.js";
import { counted, element, tile } from "./elements.js";
import { Files } from "./files.js";
import { BadSearch } from "./language.js";
import { addMore, postPage } from "./post.js";
import { Search } from "./search.js";
import { Suggestions } from "./suggestions.js";
import { Table } from "./tables.js";

const PAGE_POSTS = 60;
const RATINGS = { g: "general", s: "sensitive", q: "questionable", e: "explicit" };
const at = (id) => document.getElementById(id);

class Browser {
  constructor(files, about) {
    Object.assign(this, { files, about });
    this.tables = Object.fromEntries(Object.entries(about.tables).map(([name, shards]) => [name, new Table(files, shards)]));
    this.search = new Search(files, this.tables, about);
    this.details = new Details(this.search, this.tables);
    this.alike = new Alike(this.search, this.tables);
    this.suggestions = new Suggestions(at("text"), at("suggestions"), (text) => this.search.names.suggest(text));
    this.links = { search: (text) => this.address({ q: text, p: null, post: null }), post: (id) => this.address({ post: id }) };
    this.shown = 0;
  }

  get state() {
    const given = new URLSearchParams(location.hash.slice(1));
    const ratings = [...new Set(given.get("r") ?? this.about.start)].filter((letter) => letter in RATINGS);
    return {
      text: given.get("q") ?? "", ratings, page: Math.max(1, Number.parseInt(given.get("p"), 10) || 1),
      post: Number.parseInt(given.get("post"), 10) || null,
    };
  }

  /** The address with some parts changed; null removes one. */
  address(changes) {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === "") given.delete(key);
      else given.set(key, value);
    }
    return `#${given}`;
  }

  go(changes) {
    location.hash = this.address(changes);
  }

  start() {
    document.title = `${this.about.name} ${this.about.version}`;
    at("ratings").append(...Object.entries(RATINGS).map(([letter, name]) => element("button", { type: "button", "data-rating": letter, title: name, onclick: () => this.toggle(letter) }, letter)));
    at("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.suggestions.close();
      this.go({ q: at("text").value.trim(), p: null, post: null });
    });
    at("text").addEventListener("keydown", (event) => this.suggestions.key(event));
    at("help-open").addEventListener("click", () => at("help").showModal());
    addEventListener("hashchange", () => this.show());
    document.addEventListener("keydown", (event) => this.key(event));
    return this.show();
  }

  toggle(letter) {
    const { ratings } = this.state;
    const wanted = ratings.includes(letter) ? ratings.filter((each) => each !== letter) : [...ratings, letter];
    this.go({ r: Object.keys(RATINGS).filter((each) => wanted.includes(each)).join("") || this.about.start, p: null });
  }

  async show() {
    const { text, ratings, page, post } = this.state;
    const mine = ++this.shown;
    const begin = performance.now();
    if (document.activeElement !== at("text")) at("text").value = text;
    for (const button of at("ratings").children) button.setAttribute("aria-pressed", String(ratings.includes(button.dataset.rating)));
    this.say(null);
    try {
      const key = `${ratings.join("")} ${text}`;
      if (this.foundBy !== key) {
        Object.assign(this, { found: null, foundBy: null }); // a search that fails must not leave the last one's name
        const found = await this.search.find(text, ratings);
        if (mine !== this.shown) return;
        Object.assign(this, { found, foundBy: key });
      }
      if (post === null) await this.showGrid(page, mine, begin);
      else await this.showPost(post, mine);
    } catch (error) {
      if (mine === this.shown) this.fail(error);
    }
  }

  fail(error) {
    at("main").replaceChildren();
    at("pages").hidden = true;
    at("status").value = "";
    const { close = [], typed = "" } = error;
    const { text } = this.state;
    const mended = (name) => text.slice(0, error.position) + name + text.slice(error.position + typed.length);
    const position = error instanceof BadSearch && error.position !== undefined ? ` (at ${error.position + 1})` : "";
    this.say(element("span", {}, error.message, position,
      close.length ? [" Did you mean ", close.flatMap((name, n) => [n ? ", " : "", element("a", { href: this.links.search(mended(name)) }, name)]), "?"] : null));
  }

  say(what) {
    at("message").hidden = what === null;
    at("message").replaceChildren(...(what === null ? [] : [what]));
  }

  async showGrid(page, mine, begin) {
    const { found } = this;
    const images = await this.search.names.posts("image", ["512px"]);
    const ids = found.ids((page - 1) * PAGE_POSTS, page * PAGE_POSTS);
    if (mine !== this.shown) return;
    const milliseconds = performance.now() - begin;
    at("main").replaceChildren(ids.length
      ? element("div", { class: "grid" }, ids.map((id) => tile(id, this.links.post(id), { hasImage: images?.has(id) })))
      : element("p", { class: "hint" }, "No posts."));
    const parts = [`${counted(found.count)} posts`, `${milliseconds.toFixed(0)} ms`];
    if (found.others) parts.splice(1, 0, `${counted(found.others)} more with other ratings`);
    at("status").value = [...parts, ...found.notes].join(" · ");
    const last = Math.max(1, Math.ceil(found.count / PAGE_POSTS));
    at("pages").hidden = last === 1;
    at("pages").replaceChildren(
      element("button", { type: "button", id: "before", disabled: page <= 1, onclick: () => this.turn(-1) }, "←"),
      `page ${counted(page)} of ${counted(last)}`,
      element("button", { type: "button", id: "after", disabled: page >= last, onclick: () => this.turn(1) }, "→"));
    scrollTo(0, 0);
    this.drawn = { milliseconds, requests: this.files.requests, bytes: this.files.bytes };
    await this.showNearest(mine);
  }

  /** Above the posts of a single tag, the tags that are nearest to it. */
  async showNearest(mine) {
    const { text } = this.state;
    const tag = /^[^\s*()~-][^\s*]*$/.test(text) ? await this.search.names.meant(text) : null;
    const nearest = tag === null ? [] : await this.alike.tags(tag.value);
    if (mine !== this.shown || !nearest.length) return;
    at("main").prepend(element("p", { class: "nearest" }, "Near: ",
      nearest.flatMap((name, n) => [n ? ", " : "", element("a", { href: this.links.search(name) }, name.replaceAll("_", " "))])));
  }

  async showPost(id, mine) {
    const rows = await this.details.rows(id);
    if (mine !== this.shown) return;
    if (rows === null) throw new Error(`${this.about.name} has no post ${id}`);
    const [images, common] = await Promise.all([this.search.names.posts("image", ["512px"]), this.search.names.common()]);
    if (mine !== this.shown) return;
    const page = postPage(rows, this.links, common);
    at("main").replaceChildren(page);
    at("pages").hidden = true;
    at("status").value = `post ${id} of ${this.about.name}`;
    scrollTo(0, 0);
    const more = await this.details.more(rows);
    const before = { requests: this.files.requests, bytes: this.files.bytes };
    more.similar = await this.alike.posts(rows.post, this.state.ratings);
    this.similarCost = { requests: this.files.requests - before.requests, bytes: this.files.bytes - before.bytes };
    if (mine === this.shown) addMore(page, rows, more, this.links, (each) => images?.has(each));
    page.dataset.whole = "yes";
  }

  /** The next page or post, or the one before. */
  turn(step) {
    const { page, post } = this.state;
    if (post === null) {
      const last = Math.max(1, Math.ceil((this.found?.count ?? 0) / PAGE_POSTS));
      if (page + step >= 1 && page + step <= last) this.go({ p: page + step > 1 ? page + step : null });
      return;
    }
    const known = this.found?.ids(0, (page + 1) * PAGE_POSTS) ?? [];
    const place = known.indexOf(post);
    const next = known[place + step];
    if (place >= 0 && next !== undefined) this.go({ post: next, p: Math.floor((place + step) / PAGE_POSTS) + 1 });
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || at("help").open) return;
    if (event.target.matches("input")) {
      if (event.key === "Escape" && !event.defaultPrevented) event.target.blur();
      return;
    }
    const keys = {
      "/": () => at("text").focus(), "?": () => at("help").showModal(),
      a: () => this.turn(-1), ArrowLeft: () => this.turn(-1), d: () => this.turn(1), ArrowRight: () => this.turn(1),
      Escape: () => { if (this.state.post !== null) this.go({ post: null }); },
      o: () => at("original")?.click(), n: () => document.querySelectorAll(".note").forEach((note) => { note.hidden = !note.hidden; }),
    };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  }
}

async function open() {
  const files = new Files(new URL("../", import.meta.url));
  try {
    const browser = new Browser(files, await files.json("browse/release.json"));
    globalThis.browser = browser; // for tests, and for the console
    await browser.start();
  } catch (error) {
    at("message").hidden = false;
    at("message").textContent = error.message;
  }
}

open();
