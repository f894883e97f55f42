// What is like something: the nearest tags of a tag, by the table of vectors, and posts that share a post's rarest tags.
// Posts are found by their tags, not by their vectors: it is as good, and needs a few bitmaps of the index.

import { Recent, compare } from "./names.js";

const FEWEST_BYTES = 64 * 1024;
const MOST_BYTES = 384 * 1024;
const MOST_TAGS = 10;
const MOST_POSTS = 12;
const KEPT_GROUPS = 8;

export class Alike {
  constructor(search, tables) {
    Object.assign(this, { search, table: tables.tag_vectors });
    this.groups = new Recent(KEPT_GROUPS);
  }

  /** Names of the nearest tags of a tag; none where it has no vector. */
  async tags(name) {
    if (!this.table?.rows) return [];
    const { row_groups: groups } = await this.table.metadata(this.table.shards[0]);
    let first = 0;
    for (const [number, group] of groups.entries()) {
      const { statistics } = group.columns.find((each) => each.meta_data.path_in_schema[0] === "name").meta_data;
      if (statistics?.min_value === undefined || (compare(statistics.min_value, name) <= 0 && compare(name, statistics.max_value) <= 0)) {
        const { name: names } = await this.groups.get(number, () => this.table.group(number, ["name"]));
        const row = names.indexOf(name);
        if (row >= 0) return (await this.table.read(first + row, first + row + 1, ["nearest"]))[0].nearest;
      }
      first += Number(group.num_rows);
    }
    return [];
  }

  /** Other posts of some ratings, those first that share most of the rarest tags of a post. */
  async posts(post, ratings) {
    const { names } = this.search;
    const common = new Map((await names.common()).map((tag) => [tag.name, tag.posts]));
    const count = (tag) => common.get(tag) ?? 0;
    const rarest = post.tag_string.split(" ").filter(Boolean).sort((a, b) => count(a) - count(b)).slice(0, MOST_TAGS);
    const entries = (await Promise.all(rarest.map((tag) => names.entry("tag", tag))))
      .filter((entry) => entry !== null && entry.posts > 1).sort((a, b) => a.posts - b.posts);
    let size = 0;
    const held = entries.filter((entry) => (size += entry.bytes) <= MOST_BYTES || entry.bytes < FEWEST_BYTES);
    const sets = await Promise.all(held.map((entry) => names.postsOf(entry)));
    const shown = await names.posts("rating", ratings);
    const shared = new Map();
    sets.forEach((set, n) => {
      const weight = Math.log(this.search.ranks.count / held[n].posts) ** 2;
      this.search.ranks.visit(set, (id) => shared.set(id, (shared.get(id) ?? 0) + weight));
    });
    shared.delete(post.id);
    const found = [...shared].sort((a, b) => b[1] - a[1] || b[0] - a[0]);
    return found.filter(([id, weight]) => weight > 0 && shown?.has(id)).slice(0, MOST_POSTS).map(([id]) => id);
  }
}
