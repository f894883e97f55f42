// The index of the release: which bitmap belongs to a name, how many posts it has, and which names begin like a text.
// The table of names is sorted by field and value, so a name is looked for in the one group of rows that may have it.

import { Posts } from "./roaring.js";
import { textOf } from "./tables.js";

const BITMAPS = "index/bitmaps.roar";
/** What the metadata of the table of names says of the bitmaps. */
const [VERSION, WIDE] = ["danbooru_pipeline.index", "2"];
const COLUMNS = ["field", "value", "category", "posts", "offset", "bytes"];
const COMMON_TAGS = 5000;
/** Groups of rows that may be read for suggestions. */
const MOST_GROUPS = 4;
const KEPT_BITMAPS = 200;
const KEPT_GROUPS = 60;
/** Tags that a pattern may stand for. */
export const MOST_MATCHES = 5000;
const AFTER_ALL = "\u{10ffff}";

/** Order of texts by their code points, as the tables have it; JavaScript compares halves of them. */
export function compare(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    const [isHalf, otherIsHalf] = [(x & 0xf800) === 0xd800, (y & 0xf800) === 0xd800];
    return isHalf === otherIsHalf ? x - y : isHalf ? 1 : -1;
  }
  return a.length - b.length;
}

/** Whether a pattern with `*` matches a text as a whole, in time that grows with the text alone. */
export function matches(pattern, text) {
  const parts = pattern.split("*");
  if (parts.length === 1) return pattern === text;
  const [first, last] = [parts.shift(), parts.pop()];
  if (!text.startsWith(first) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts) {
    at = text.indexOf(part, at);
    if (at < 0) return false;
    at += part.length;
  }
  return text.endsWith(last) && at <= text.length - last.length;
}

/** The ways in which a tag or a pattern of tags may be meant, the likeliest first: as typed, NFC, lower case. */
export function spellings(typed) {
  const composed = typed.normalize("NFC");
  return [...new Set([typed, composed, composed.toLowerCase()])];
}

/** Keeps what was used last: promises by their keys. */
export class Recent {
  constructor(most) {
    this.most = most;
    this.held = new Map();
  }

  get(key, make) {
    let value = this.held.get(key);
    if (value === undefined) {
      value = make();
      value.catch(() => this.held.delete(key));
    } else {
      this.held.delete(key);
    }
    this.held.set(key, value);
    if (this.held.size > this.most) this.held.delete(this.held.keys().next().value);
    return value;
  }
}

export class Names {
  /** @param tables - of the release: `names`, and if it has them `tag_counts` and `tag_aliases` */
  constructor(files, tables) {
    this.files = files;
    this.table = tables.names;
    this.tables = tables;
    this.bitmaps = new Recent(KEPT_BITMAPS);
    this.groups = new Recent(KEPT_GROUPS);
  }

  /** Numbers of the groups of rows that may have names of a field between two values. */
  async groupsOf(field, low, high) {
    const metadata = await this.table.metadata(this.table.shards[0]);
    const places = Object.fromEntries(metadata.row_groups[0]?.columns.map((each, n) => [each.meta_data.path_in_schema[0], n]) ?? []);
    const found = [];
    metadata.row_groups.forEach((group, number) => {
      const [fields, values] = ["field", "value"].map((name) => group.columns[places[name]].meta_data.statistics);
      const outside = (stats, from, to) =>
        stats?.min_value !== undefined && (compare(stats.max_value, from) < 0 || compare(stats.min_value, to) > 0);
      const isMixed = fields?.min_value !== fields?.max_value;
      if (outside(fields, field, field) || (!isMixed && outside(values, low, high))) return;
      found.push(number);
    });
    return found;
  }

  /** All names of a field between two values, both included, with their places. */
  async between(field, low, high) {
    const numbers = await this.groupsOf(field, low, high);
    const groups = await Promise.all(numbers.map((n) => this.groups.get(n, () => this.table.group(n, COLUMNS))));
    const found = [];
    for (const group of groups) {
      for (let i = firstNotBelow(group, field, low); i < group.value.length; i++) {
        if (group.field[i] !== field || compare(group.value[i], high) > 0) break;
        found.push(Object.fromEntries(COLUMNS.map((name) => [name, group[name][i]])));
      }
    }
    return found;
  }

  async entry(field, value) {
    return (await this.between(field, value, value))[0] ?? null;
  }

  /** The posts of an entry. */
  postsOf(entry) {
    return this.bitmaps.get(entry.offset, async () => {
      const bytes = await this.files.range(BITMAPS, entry.offset, entry.offset + entry.bytes);
      return (await this.isWide()) ? Posts.decodeWide(bytes) : Posts.decode(bytes);
    });
  }

  /** Whether bitmaps have ids of 64 bits. */
  async isWide() {
    const metadata = await this.table.metadata(this.table.shards[0]);
    const version = metadata.key_value_metadata?.find((each) => each.key === VERSION)?.value ?? "1";
    if (version !== "1" && version !== WIDE) throw new RangeError(`the index has version ${version}, which this page does not know`);
    return version === WIDE;
  }

  /** The posts that have one of some values; null when no post has any. */
  async posts(field, values) {
    const entries = (await Promise.all(values.map((value) => this.entry(field, value)))).filter(Boolean);
    return entries.length ? this.united(entries) : null;
  }

  async united(entries) {
    const sets = await Promise.all(entries.map((entry) => this.postsOf(entry)));
    return sets.length === 1 ? sets[0] : Posts.union(sets);
  }

  /** Tags that a pattern matches. */
  async matching(pattern) {
    const start = pattern.slice(0, pattern.indexOf("*"));
    return (await this.between("tag", start, start + AFTER_ALL)).filter((entry) => matches(pattern, entry.value));
  }

  /** Tags with the first letters of a text: with as many of them as it takes for a few groups of rows. */
  async around(text) {
    for (let letters = 0; letters <= text.length; letters++) {
      const start = text.slice(0, letters);
      if ((await this.groupsOf("tag", start, start + AFTER_ALL)).length <= MOST_GROUPS) return this.between("tag", start, start + AFTER_ALL);
    }
    return [];
  }

  /** The most frequent tags. */
  common() {
    this.commonTags ??= this.tables.tag_counts
      ? this.tables.tag_counts.read(0, Math.min(COMMON_TAGS, this.tables.tag_counts.rows), ["name", "category", "posts"])
      : Promise.resolve([]);
    return this.commonTags;
  }

  /** Old name -> names that the site takes it for. */
  aliases() {
    this.aliasesOfTags ??= this.readAliases();
    return this.aliasesOfTags;
  }

  async readAliases() {
    const table = this.tables.tag_aliases;
    const found = new Map();
    if (!table) return found;
    const columns = {};
    for (const name of ["antecedent_name", "consequent_name", "status"]) {
      columns[name] = new Array(table.rows);
      if (!(await table.column(name, (first, values) => { for (let i = 0; i < values.length; i++) columns[name][first + i] = textOf(values[i]); }))) return found;
    }
    for (let i = 0; i < table.rows; i++) {
      if (columns.status[i] !== "active") continue;
      const old = columns.antecedent_name[i];
      if (old === null || columns.consequent_name[i] === null) continue;
      found.set(old, [...(found.get(old) ?? []), columns.consequent_name[i]]);
    }
    return found;
  }

  /** What a tag may be, the likeliest first. */
  async meant(tag) {
    const names = spellings(tag);
    for (const name of names) {
      const entry = await this.entry("tag", name);
      if (entry) return entry;
    }
    for (const name of (await this.aliases()).get(names.at(-1)) ?? []) {
      const entry = await this.entry("tag", name);
      if (entry) return entry;
    }
    return null;
  }

  /** Tags that a text may become: those that begin with it, by an alias too, then those that have it somewhere. */
  async suggest(text, most = 10) {
    const starts = spellings(text);
    const typed = starts.at(-1);
    const found = new Map();
    const add = (name, category, posts, alias) => {
      if (!found.has(name)) found.set(name, { name, category, posts, alias });
    };
    const common = await this.common();
    for (const tag of common) {
      if (starts.some((start) => tag.name.startsWith(start))) add(tag.name, tag.category, tag.posts);
    }
    for (const start of typed.length > 2 || found.size < most ? starts : []) {
      if ((await this.groupsOf("tag", start, start + AFTER_ALL)).length > MOST_GROUPS) continue;
      for (const tag of await this.between("tag", start, start + AFTER_ALL)) add(tag.value, tag.category, tag.posts);
    }
    const likely = [...found.values()].sort((a, b) => b.posts - a.posts).slice(0, most);
    if (typed.length > 1) {
      for (const [old, names] of await this.aliases()) {
        if (likely.length >= most * 2 || !old.startsWith(typed)) continue;
        for (const name of names) {
          if (likely.some((each) => each.name === name)) continue;
          const entry = await this.entry("tag", name);
          if (entry) likely.push({ name, category: entry.category, posts: entry.posts, alias: old });
        }
      }
      likely.sort((a, b) => b.posts - a.posts);
      for (const tag of common) {
        if (likely.length >= most) break;
        if (tag.name.includes(typed) && !likely.some((each) => each.name === tag.name)) {
          likely.push({ name: tag.name, category: tag.category, posts: tag.posts });
        }
      }
    }
    return likely.slice(0, most);
  }
}

/** The first row of a group whose name is not before a field and value. */
function firstNotBelow(group, field, value) {
  let [low, high] = [0, group.value.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = compare(group.field[middle], field) || compare(group.value[middle], value);
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
