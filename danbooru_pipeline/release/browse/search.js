// Finds the posts of a search in the index and, where numbers are compared, in the tables; orders them page by page.

import { closeTo } from "./close.js";
import { BadSearch, parse } from "./language.js";
import { MOST_MATCHES, Names, Recent, matches, spellings } from "./names.js";
import { Numbers } from "./numbers.js";
import { datesOf, inside } from "./ranges.js";
import { Posts, Ranks } from "./roaring.js";
import { numberOf, textOf } from "./tables.js";

const BUCKETS = 1000;
const KEPT_CONDITIONS = 30;
const KEPT_ORDERS = 3;
// A set with more than this part of all posts is walked in the order of all.
const MANY = 50;
const RANKS = 2 ** 24;
const LARGEST = 2 ** 28;

/** What a search found; `note` says which of its names no post has. */
class Found {
  constructor(posts, order, limit, notes) {
    Object.assign(this, { posts, order, notes });
    this.count = limit === null ? posts.count : Math.min(limit, posts.count);
    this.held = [];
  }

  /** Ids from one place up to another in the order that was asked for. */
  ids(start, end) {
    const wanted = Math.min(end, this.count);
    if (this.held.length < wanted) this.held = this.order(this.posts, wanted);
    return this.held.slice(start, wanted);
  }
}

export class Search {
  /** @param about - browse/release.json */
  constructor(files, tables, about) {
    this.about = about;
    this.tables = tables;
    this.names = new Names(files, tables);
    this.conditions = new Recent(KEPT_CONDITIONS);
    this.orders = new Recent(KEPT_ORDERS);
    this.cutoff = Date.parse(about.cutoff) * 1000;
  }

  /** Every post of the release. */
  open() {
    this.opened ??= this.names.posts("post", ["all"]).then((posts) => {
      this.everything = posts ?? new Posts();
      this.ranks = new Ranks(this.everything);
      this.numbers = new Numbers(this.tables, this.ranks.count);
    });
    return this.opened;
  }

  /** The posts of a text that have one of some ratings, and how many others it has. Throws BadSearch. */
  async find(text, ratings) {
    const search = parse(text);
    await this.open();
    const notes = [];
    await this.checkNames(search.root, true, notes);
    const all = await this.of(search.root);
    const rated = ratings.length === 4 ? all : all.and((await this.names.posts("rating", ratings)) ?? new Posts());
    const found = new Found(rated, await this.orderOf(search.order), search.limit, notes);
    found.others = all.count - rated.count;
    return found;
  }

  /** Say which names no post has; stop when posts must have one. */
  async checkNames(node, required, notes) {
    if (node.kind === "and" || node.kind === "or") {
      for (const part of node.parts) await this.checkNames(part, required && node.kind === "and", notes);
    } else if (node.kind === "not") {
      await this.checkNames(node.part, false, notes);
    } else if (["tag", "wildcard", "pool"].includes(node.kind) && (await this.posts(node)) === null) {
      const what = { tag: "has the tag", wildcard: "has a tag like", pool: "is in the pool" }[node.kind];
      const message = `no post ${what} “${node.name}”`;
      if (required) {
        const close = node.kind === "tag" ? await closeTo(node.name, this.names) : [];
        throw Object.assign(new BadSearch(message, node.at), { typed: node.name, close });
      }
      notes.push(message);
    }
  }

  /** The posts of a name; null when there is no such name. */
  async posts(node) {
    if (node.kind === "tag") {
      const entry = await this.names.meant(node.name);
      return entry && this.names.postsOf(entry);
    }
    if (node.kind === "wildcard") return this.condition({ ...node, at: 0 }, () => this.like(node));
    return this.names.posts("pool", await this.poolNumbers(node.name));
  }

  /** The posts of all tags that a pattern matches; null when there is none. */
  async like(node) {
    for (const pattern of spellings(node.name)) {
      const entries = await this.names.matching(pattern);
      if (entries.length > MOST_MATCHES) {
        throw new BadSearch(`${entries.length.toLocaleString("en")} tags are like “${node.name}”; type more of it`, node.at);
      }
      if (entries.length) return this.names.united(entries);
    }
    return null;
  }

  async poolNumbers(name) {
    if (/^[0-9]+$/.test(name)) return [name];
    const wanted = name.toLowerCase().replaceAll(" ", "_");
    const pools = await this.pools();
    const named = pools.filter((pool) => matches(wanted, (textOf(pool.name) ?? "").toLowerCase().replaceAll(" ", "_")));
    return named.map((pool) => numberOf(pool.id)).filter((number) => !Number.isNaN(number)).map(String);
  }

  /** Number and name of every pool. */
  pools() {
    this.allPools ??= this.tables.pools ? this.tables.pools.read(0, this.tables.pools.rows, ["id", "name"]) : Promise.resolve([]);
    return this.allPools;
  }

  /** Those of all posts that meet a condition. */
  async of(node) {
    switch (node.kind) {
      case "and": return this.all(node.parts);
      case "or": return Posts.union(await Promise.all(node.parts.map((part) => this.of(part))));
      case "not": return this.everything.without(await this.of(node.part));
      case "among": return this.known(await this.names.posts(node.field, node.values));
      case "present": return this.condition(node, () => this.withNumber(node.field, (value) => !Number.isNaN(value)));
      case "within": return this.condition(node, () => this.within(node.field, node.ranges));
      default: return this.known(await this.posts(node));
    }
  }

  /** A condition on a number of every post, which takes a look at all of them, once. */
  condition(node, make) {
    return this.conditions.get(JSON.stringify(node), make);
  }

  async all(parts) {
    const isNot = (part) => part.kind === "not";
    const sets = await Promise.all(parts.map((part) => this.of(isNot(part) ? part.part : part)));
    let found = this.everything;
    parts.forEach((part, n) => { if (!isNot(part)) found = found === this.everything ? sets[n] : found.and(sets[n]); });
    parts.forEach((part, n) => { if (isNot(part)) found = found.without(sets[n]); });
    return found;
  }

  known(posts) {
    return posts ?? new Posts();
  }

  async withNumber(field, meets) {
    return this.ranks.where(await this.numbers.get(field), meets);
  }

  async within(field, ranges) {
    if (field === "id" || field === "bucket") {
      const meets = inside(ranges);
      const found = new Posts();
      this.ranks.visit(this.everything, (id) => { if (meets(field === "id" ? id : id % BUCKETS)) found.add(id); });
      return found;
    }
    if (field === "child") return this.parentsOf(inside(ranges));
    if (field === "age") return this.withNumber("date", inside(ranges.map((each) => datesOf(each, this.cutoff))));
    return this.withNumber(field, inside(ranges));
  }

  async parentsOf(meets) {
    const parents = await this.numbers.get("parent");
    const found = new Posts();
    this.ranks.visit(this.everything, (id, rank) => {
      if (meets(id) && this.everything.has(parents[rank])) found.add(parents[rank]);
    });
    return found;
  }

  /** What gives the first ids of a set in an order. */
  async orderOf(order) {
    if (order === null || (order.field === "id" && !order.ascending)) return (posts, most) => firstOf(posts.descending(), most);
    if (order.field === "id") return (posts, most) => firstOf(posts.ascending(), most);
    if (order.field === "random") return (posts, most) => this.best(posts, most, (id) => mixed(id), false);
    const values = await this.numbers.get(order.field);
    const sorted = await this.orders.get(`${order.field} ${order.ascending}`, async () => sortedRanks(values, order.ascending));
    return (posts, most) => (sorted !== null && posts.count > this.ranks.count / MANY
      ? this.walk(posts, most, sorted)
      : this.best(posts, most, (_id, rank) => values[rank], order.ascending));
  }

  /** The first ids of a large set: all posts are walked in their order until enough are found. */
  walk(posts, most, sorted) {
    if (this.ids === undefined) {
      this.ids = new Float64Array(this.ranks.count);
      this.ranks.visit(this.everything, (id, rank) => { this.ids[rank] = id; });
    }
    const found = [];
    for (let n = 0; n < sorted.length && found.length < most; n++) {
      const id = this.ids[sorted[n]];
      if (posts.has(id)) found.push(id);
    }
    return found;
  }

  /** The first ids by a number: those without it last, among equals the newest first. */
  best(posts, most, valueOf, ascending) {
    const sign = ascending ? 1 : -1;
    const order = (a, b) => a.key - b.key || b.id - a.id;
    let held = [];
    let worst = Infinity;
    const cut = () => {
      held = held.sort(order).slice(0, most);
      worst = held.length < most ? Infinity : held.at(-1).key;
    };
    this.ranks.visit(posts, (id, rank) => {
      const value = valueOf(id, rank);
      const key = value === value ? sign * value : Number.MAX_VALUE; // NaN is not itself
      if (key > worst) return;
      held.push({ key, id });
      if (held.length >= 4 * most + 1000) cut();
    });
    cut();
    return held.map((each) => each.id);
  }
}

function firstOf(ids, most) {
  const found = [];
  for (const id of ids) {
    if (found.length >= most) break;
    found.push(id);
  }
  return found;
}

/**
 * Ranks by a number: those without it last, among equals the newest first; null where numbers and ranks do not fit into
 * one number of 53 bits, by which millions are sorted in a moment.
 */
function sortedRanks(values, ascending) {
  if (values.length > RANKS) return null;
  const keys = new Float64Array(values.length);
  for (let rank = 0; rank < values.length; rank++) {
    const value = values[rank];
    if (value === value && (!Number.isInteger(value) || Math.abs(value) >= LARGEST)) return null;
    const key = value === value ? (ascending ? value : -value) : LARGEST; // NaN is not itself
    keys[rank] = key * RANKS + (RANKS - 1 - rank);
  }
  keys.sort();
  const ranks = new Uint32Array(values.length);
  for (let n = 0; n < keys.length; n++) ranks[n] = RANKS - 1 - (keys[n] - Math.floor(keys[n] / RANKS) * RANKS);
  return ranks;
}

/** A number that follows from an id and looks like chance. */
function mixed(id) {
  let x = Math.imul(id ^ 0x9e3779b9, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
