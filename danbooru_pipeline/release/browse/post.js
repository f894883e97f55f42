// The page of one post: its image with notes, its tags by category, and what the release says about its file.

import { CATEGORIES } from "./details.js";
import { bytes, counted, element, short, thumbnailOf, tile } from "./elements.js";

const RATINGS = { g: "general", s: "sensitive", q: "questionable", e: "explicit" };
const SHOWN = new Set(["jpg", "jpeg", "png", "gif", "webp", "avif", "bmp"]);
const PLAYED = new Set(["mp4", "webm"]);
const SITE = "https://danbooru.donmai.us";

/** The page of a post; `links` makes the addresses of searches and of other posts. */
export function postPage({ post, file }, links, common) {
  const stage = element("div", { class: "stage", id: "stage" });
  const tools = element("div", { class: "tools" });
  showImage(stage, post, file, { original: false });
  const extension = file.path?.split(".").at(-1);
  if (file.path && (SHOWN.has(extension) || PLAYED.has(extension))) {
    const button = element("button", { type: "button", id: "original", "aria-pressed": "false", onclick: () => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(pressed));
      showImage(stage, post, file, { original: pressed });
    } }, "Original");
    tools.append(button);
  }
  return element("article", { class: "post", "data-post": post.id },
    element("div", {}, stage, tools, element("div", { id: "more" })),
    element("aside", {}, tagLists(post, links, common), facts(post, file, links)));
}

function showImage(stage, post, file, { original }) {
  const notes = [...stage.querySelectorAll(".note")];
  const extension = file.path?.split(".").at(-1);
  const size = { w: post.image_width ?? file.width, h: post.image_height ?? file.height };
  let shown;
  if (original && PLAYED.has(extension)) shown = element("video", { src: `../${file.path}`, controls: true, loop: true });
  else if (original) shown = element("img", { src: `../${file.path}`, alt: `post ${post.id}` });
  else if (file.px512_path) shown = element("img", { src: thumbnailOf(post.id), alt: `post ${post.id}`, width: 512, height: 512 });
  else shown = element("p", { class: "absent" }, absence(file));
  stage.replaceChildren(shown, ...notes);
  stage.dataset.scale = original ? "original" : "512px";
  for (const note of notes) place(note, size, stage);
}

function absence(file) {
  const words = (reason) => (reason ?? "").replaceAll("_", " ");
  if (file.status !== "ok") return `The original is ${file.status}: ${words(file.reason)}.`;
  return `There is no 512px image: ${words(file.px512_reason)}.`;
}

/** Put a note where it belongs on what is shown; 512px images are shrunk and centred on a square. */
function place(note, { w, h }, stage) {
  const { x, y, width, height } = JSON.parse(note.dataset.box);
  const is512 = stage.dataset.scale === "512px";
  const scale = is512 ? Math.min(1, 512 / Math.max(w, h)) : 1;
  const [wide, high] = is512 ? [512, 512] : [w, h];
  const [left, top] = is512 ? [(512 - w * scale) / 2, (512 - h * scale) / 2] : [0, 0];
  const percent = (value, whole) => `${(100 * value) / whole}%`;
  note.style.left = percent(left + x * scale, wide);
  note.style.top = percent(top + y * scale, high);
  note.style.width = percent(width * scale, wide);
  note.style.height = percent(height * scale, high);
}

function tagLists(post, links, common) {
  const counts = new Map(common.map((tag) => [tag.name, tag.posts]));
  const known = CATEGORIES.some((name) => post[`tag_string_${name}`]);
  const lists = known ? CATEGORIES.map((name) => [name, post[`tag_string_${name}`]]) : [["tags", post.tag_string]];
  return lists.filter(([, tags]) => tags).flatMap(([name, tags]) => [
    element("h2", {}, name[0].toUpperCase() + name.slice(1)),
    element("ul", { class: `tags ${name}` }, tags.split(" ").filter(Boolean).sort().map((tag) => element("li", {},
      element("a", { href: links.search(tag) }, tag.replaceAll("_", " ")),
      counts.has(tag) ? element("span", { class: "count" }, ` ${short(counts.get(tag))}`) : null))),
  ]);
}

function facts(post, file, links) {
  const rows = [];
  const add = (name, ...value) => { if (value.some((part) => part !== null && part !== undefined && part !== "")) rows.push(element("dt", {}, name), element("dd", {}, value)); };
  add("id", String(post.id));
  add("uploaded", new Date(post.created_at / 1000).toISOString().slice(0, 16).replace("T", " "));
  add("rating", RATINGS[post.rating] ?? post.rating);
  add("score", post.score === null ? null : counted(post.score));
  add("favorites", post.fav_count === null ? null : counted(post.fav_count));
  add("status", ["deleted", "pending", "flagged", "banned"].filter((name) => post[`is_${name}`]).join(", ") || "active");
  add("uploader", post.uploader_id ? element("a", { href: links.search(`user_id:${post.uploader_id}`) }, `user ${post.uploader_id}`) : null);
  add("source", sourceOf(post.source));
  add("at the site", element("a", { href: `${SITE}/posts/${post.id}`, rel: "noreferrer" }, `post ${post.id}`));
  const site = rows.splice(0);
  add("file", file.path ? element("a", { href: `../${file.path}` }, file.path) : null);
  add("status", [file.status, file.reason?.replaceAll("_", " ")].filter(Boolean).join(": "));
  add("512px", file.px512_path ? element("a", { href: `../${file.px512_path}` }, file.px512_path) : [file.px512_status, file.px512_reason?.replaceAll("_", " ")].filter(Boolean).join(": "));
  add("warnings", (file.px512_flags ?? []).join(", ").replaceAll("_", " "));
  add("type", file.file_type);
  add("pixels", file.width ? `${file.width} × ${file.height}` : null);
  add("frames", file.pages > 1 ? counted(file.pages) : null);
  add("size", file.size === null || file.size === undefined ? null : bytes(file.size));
  add("optimised", file.optimized === null || file.optimized === undefined ? null : file.optimized ? "losslessly" : "no");
  add("MD5 of the site", post.md5);
  add("MD5 matches", file.source_md5_matches === null || file.source_md5_matches === undefined ? null : file.source_md5_matches ? "yes" : "no");
  add("SHA-256", file.sha256);
  return [element("h2", {}, "Post"), element("dl", {}, site), element("h2", {}, "File"), element("dl", {}, rows)];
}

function sourceOf(source) {
  if (!source) return null;
  return /^https?:\/\//i.test(source) ? element("a", { href: source, rel: "noreferrer noopener nofollow" }, source) : source;
}

const plainText = (text) => new DOMParser().parseFromString(text ?? "", "text/html").body.textContent;

/** Add what only some posts have. */
export function addMore(page, { post }, more, links, hasImage) {
  const stage = page.querySelector("#stage");
  for (const note of more.notes) {
    const box = { x: note.x, y: note.y, width: note.width, height: note.height };
    const made = element("div", { class: "note", tabindex: 0, "data-box": JSON.stringify(box) }, element("span", {}, plainText(note.body)));
    stage.append(made);
    place(made, { w: post.image_width, h: post.image_height }, stage);
  }
  const parts = [];
  const strip = (title, posts) => {
    if (posts.length) parts.push(element("h2", {}, title), element("div", { class: "strip" }, posts.map(({ id, label }) => tile(id, links.post(id), { hasImage: hasImage(id), label }))));
  };
  const { commentary } = more;
  const texts = commentary ? [["Commentary", commentary.original_title, commentary.original_description], ["Translated commentary", commentary.translated_title, commentary.translated_description]] : [];
  for (const [title, head, body] of texts) {
    if (head || body) parts.push(element("h2", {}, title), element("div", { class: "text" }, [head, body].filter(Boolean).join("\n\n")));
  }
  if (more.pools.length) {
    parts.push(element("h2", {}, "Pools"), element("ul", { class: "tags" }, more.pools.map(({ number, name }) =>
      element("li", {}, element("a", { href: links.search(`pool:${number} order:id`) }, name.replaceAll("_", " "))))));
  }
  const plain = (ids) => ids.map((id) => ({ id }));
  strip("Parent", post.parent_id ? plain([post.parent_id]) : []);
  strip("Siblings", plain(more.siblings));
  strip("Children", plain(more.children));
  strip("Duplicates", more.duplicates.map(({ id, kind }) => ({ id, label: `post ${id}: ${kind}` })));
  strip("Similar", plain(more.similar));
  page.querySelector("#more").replaceChildren(...parts);
}
