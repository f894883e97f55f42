// Names that may have been meant by one that no post has, as `danbooru-pipeline select` names them, among those that the
// page has at hand: the most frequent tags, and the index around the name.

import { KNOWN } from "./language.js";
import { spellings } from "./names.js";

const MOST = 3;
const MOST_MISTAKES = 3;
const LETTERS_PER_MISTAKE = 4;
const LONGEST = 100;

/** What may be searched for in place of a tag that no post has, the likeliest first. @param names - of the release */
export async function closeTo(typed, names) {
  const lower = spellings(typed).at(-1).slice(0, LONGEST);
  const colon = typed.indexOf(":");
  const metatags = colon < 0 ? [] : nearest(lower.split(":")[0], new Map(KNOWN.map((name) => [name, 0])));
  if (metatags.length) return metatags.map((name) => name + typed.slice(colon));
  const tags = new Map();
  for (const tag of await names.common()) tags.set(tag.name, tag.posts);
  for (const tag of await names.around(lower)) tags.set(tag.value, tag.posts);
  const found = new Set([...sameWords(lower, tags), ...nearest(lower, tags)]);
  return found.size ? [...found].slice(0, MOST) : (await names.suggest(lower.slice(0, 12), MOST)).map((tag) => tag.name);
}

/** Tags of the same words in another order, the most frequent first. */
function sameWords(typed, tags) {
  const sorted = (name) => name.split("_").sort().join("_");
  const words = sorted(typed);
  const same = [...tags.keys()].filter((name) => name.length === typed.length && sorted(name) === words);
  return same.sort((a, b) => tags.get(b) - tags.get(a));
}

/** Names that few mistakes make of a text, the fewest first and then the most frequent. */
function nearest(typed, names) {
  const most = Math.min(MOST_MISTAKES, Math.max(1, Math.floor(typed.length / LETTERS_PER_MISTAKE)));
  const found = [];
  for (const [name, posts] of names) {
    const mistakes = distance(typed, name, most);
    if (mistakes <= most) found.push({ name, posts, mistakes });
  }
  return found.sort((a, b) => a.mistakes - b.mistakes || b.posts - a.posts).slice(0, MOST).map((each) => each.name);
}

/** How many letters are wrong, missing, too many or swapped with their neighbour; more than `most` is only that. */
function distance(a, b, most) {
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let [before, row] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) next[j] = Math.min(next[j], before[j - 2] + 1);
    }
    if (Math.min(...next, ...row) > most) return most + 1;
    [before, row] = [row, next];
  }
  return row[b.length];
}
