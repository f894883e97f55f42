// What the release knows about one post, read in two steps: its rows in the tables of posts and files, then what only
// some posts have: notes, commentary, pools, relatives, duplicates.

import { numberOf, textOf } from "./tables.js";

export const CATEGORIES = ["artist", "copyright", "character", "general", "meta"];
const POST = [
  "id", "created_at", "uploader_id", "score", "source", "md5", "rating", "image_width", "image_height", "fav_count", "file_ext",
  "file_size", "parent_id", "has_children", "is_deleted", "is_pending", "is_flagged", "is_banned", "pixiv_id", "tag_string",
  ...CATEGORIES.map((name) => `tag_string_${name}`),
];
const FILE = [
  "id", "status", "reason", "path", "size", "sha256", "file_type", "width", "height", "pages", "optimized", "source_md5_matches",
  "px512_status", "px512_reason", "px512_path", "px512_flags",
];
const DUPLICATES = ["identical", "recompressed", "cropped", "variant"];

export class Details {
  constructor(search, tables) {
    Object.assign(this, { search, tables });
    this.columns = new Map();
  }

  /** The rows of a post; null where there is none. */
  async rows(id) {
    await this.search.open();
    const rank = this.search.ranks.of(id);
    if (rank < 0) return null;
    const [[post], [file]] = await Promise.all([
      this.tables.posts.read(rank, rank + 1, POST), this.tables.files.read(rank, rank + 1, FILE),
    ]);
    if (post?.id !== id || file?.id !== id) throw new Error(`the tables are not in the order of the index at post ${id}; verify the release`);
    return { post, file };
  }

  /** What only some posts have. */
  async more({ post }) {
    const [notes, [commentary], pools, children, siblings, duplicates] = await Promise.all([
      this.side("notes", "notes", post.id, ["x", "y", "width", "height", "body", "is_active"]),
      this.side("commentary", "artist_commentaries", post.id, ["original_title", "original_description", "translated_title", "translated_description"]),
      this.pools(post.id), post.has_children ? this.childrenOf(post.id) : [],
      post.parent_id ? this.childrenOf(post.parent_id) : [], this.duplicates(post.id),
    ]);
    return {
      notes: notes.filter((note) => textOf(note.is_active) !== "false"), commentary, pools, children,
      siblings: siblings.filter((id) => id !== post.id), duplicates,
    };
  }

  async has(field, value, id) {
    return (await this.search.names.posts(field, [value]))?.has(id) ?? false;
  }

  /** A whole column, kept. */
  column(table, name) {
    const key = `${table}.${name}`;
    if (!this.columns.has(key)) {
      const values = new Array(this.tables[table].rows);
      const read = this.tables[table].column(name, (first, part) => {
        for (let i = 0; i < part.length; i++) values[first + i] = typeof part[i] === "bigint" ? Number(part[i]) : part[i];
      });
      this.columns.set(key, read.then(() => values));
      read.catch(() => this.columns.delete(key));
    }
    return this.columns.get(key);
  }

  /** Rows of a side table that are about a post. */
  async side(kind, table, id, columns) {
    if (!this.tables[table] || !(await this.has("has", kind, id))) return [];
    const posts = await this.column(table, "post_id");
    const found = [];
    posts.forEach((post, row) => { if (numberOf(post) === id) found.push(row); });
    return (await Promise.all(found.map((row) => this.tables[table].read(row, row + 1, columns)))).flat();
  }

  async pools(id) {
    if (!(await this.has("pool", "any", id))) return [];
    const rank = this.search.ranks.of(id);
    const [[row], pools] = await Promise.all([this.tables.posts.read(rank, rank + 1, ["pools"]), this.search.pools()]);
    const names = new Map(pools.map((pool) => [numberOf(pool.id), textOf(pool.name)]));
    return (row.pools ?? []).map((number) => ({ number, name: names.get(number) ?? `pool ${number}` }));
  }

  async childrenOf(id) {
    const parents = await this.search.numbers.get("parent");
    const found = [];
    this.search.ranks.visit(this.search.everything, (child, rank) => { if (parents[rank] === id) found.push(child); });
    return found;
  }

  async duplicates(id) {
    const held = await Promise.all(DUPLICATES.map((kind) => this.has("duplicate", kind, id)));
    if (!this.tables.duplicates || !held.includes(true)) return [];
    const [a, b, kind] = await Promise.all(["a", "b", "kind"].map((name) => this.column("duplicates", name)));
    const found = [];
    for (let i = 0; i < a.length; i++) {
      if (a[i] === id) found.push({ id: b[i], kind: kind[i] });
      else if (b[i] === id) found.push({ id: a[i], kind: kind[i] });
    }
    return found;
  }
}
