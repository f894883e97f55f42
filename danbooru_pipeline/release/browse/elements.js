// Elements of the page. Text of the release only ever becomes text, never markup.

/** An element: attributes that are null or false are left out, children that are null too; lists may hold lists. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

export const counted = (number) => number.toLocaleString("en");

/** A count that fits beside a tag. */
export function short(number) {
  if (number < 1000) return String(number);
  return number < 1e6 ? `${(number / 1000).toFixed(number < 1e4 ? 1 : 0)}k` : `${(number / 1e6).toFixed(1)}M`;
}

export function bytes(number) {
  if (number < 1024) return `${number} bytes`;
  return number < 2 ** 20 ? `${(number / 1024).toFixed(0)} KB` : `${(number / 2 ** 20).toFixed(1)} MB`;
}

export const bucketOf = (id) => String(id % 1000).padStart(4, "0");
export const thumbnailOf = (id) => `../512px/${bucketOf(id)}/${id}.jpg`;

/** A link to a post: its 512px image, or its number where there is none. */
export function tile(id, href, { hasImage, label = `post ${id}` }) {
  const without = () => element("span", {}, `post ${id}`, element("br"), "no 512px image");
  const made = element("a", { class: "tile", href, title: label });
  made.append(hasImage
    ? element("img", { src: thumbnailOf(id), alt: label, loading: "lazy", width: 512, height: 512, onerror: (event) => event.target.replaceWith(without()) })
    : without());
  return made;
}
