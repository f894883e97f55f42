// The list below the search field: tags that the last word may become. Arrow keys choose, Enter or Tab takes one.

import { element, short } from "./elements.js";

const WAIT_MILLISECONDS = 60;

export class Suggestions {
  /** @param suggest - a text -> tags that it may become */
  constructor(input, list, suggest) {
    Object.assign(this, { input, list, suggest });
    this.chosen = -1;
    this.asked = 0;
    input.addEventListener("input", () => this.later());
    input.addEventListener("blur", () => setTimeout(() => this.close(), 150));
  }

  /** The word before the cursor, without the signs in front of it. */
  get word() {
    return /(?:^|[\s(])[-~]*([^\s(][^\s]*)$/.exec(this.input.value.slice(0, this.input.selectionStart))?.[1] ?? "";
  }

  get isOpen() {
    return !this.list.hidden;
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.update(), WAIT_MILLISECONDS);
  }

  async update() {
    const { word } = this;
    const asked = ++this.asked;
    const tags = word && !word.includes("*") && !/^[a-z_]+:/.test(word) ? await this.suggest(word).catch(() => []) : [];
    if (asked !== this.asked || document.activeElement !== this.input) return;
    this.chosen = -1;
    this.list.replaceChildren(...tags.map((tag, number) => element("li", { role: "option", id: `suggestion-${number}`, "data-tag": tag.name, onmousedown: (event) => { event.preventDefault(); this.take(number); } },
      element("span", { class: tag.category ?? "general" }, tag.name, tag.alias ? element("small", {}, ` ← ${tag.alias}`) : null),
      element("span", { class: "count" }, short(tag.posts)))));
    this.list.hidden = !tags.length;
    this.input.setAttribute("aria-expanded", String(this.isOpen));
  }

  close() {
    this.asked += 1;
    clearTimeout(this.timer);
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  choose(number) {
    const items = [...this.list.children];
    this.chosen = (number + items.length) % items.length;
    items.forEach((item, n) => item.setAttribute("aria-selected", String(n === this.chosen)));
    items[this.chosen].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", items[this.chosen].id);
  }

  take(number) {
    const { value, selectionStart } = this.input;
    const before = value.slice(0, selectionStart - this.word.length) + this.list.children[number].dataset.tag;
    this.input.value = `${before} ${value.slice(selectionStart).trimStart()}`;
    this.input.setSelectionRange(before.length + 1, before.length + 1);
    this.close();
  }

  /** What a key does while the list is open; whether it was meant for the list. */
  key(event) {
    if (!this.isOpen) return false;
    if (event.key === "ArrowDown") this.choose(this.chosen + 1);
    else if (event.key === "ArrowUp") this.choose(this.chosen < 0 ? -1 : this.chosen - 1);
    else if ((event.key === "Enter" || event.key === "Tab") && this.chosen >= 0) this.take(this.chosen);
    else if (event.key === "Tab" && !event.shiftKey) this.take(0);
    else if (event.key === "Escape") this.close();
    else return false;
    event.preventDefault();
    return true;
  }
}
