// Numbers of posts that searches compare and sort by, one for each post in the order of ids; NaN where there is none.

import { twoDecimals } from "./ranges.js";

const plainOf = (name) => ({ table: "posts", columns: [name], of: (value) => value });
const SIZE = ["image_width", "image_height"];

/** As `danbooru_pipeline/search/numbers.py` has them. */
const NUMBERS = {
  score: plainOf("score"), upvotes: plainOf("up_score"), favcount: plainOf("fav_count"),
  downvotes: { table: "posts", columns: ["down_score"], of: Math.abs },
  width: plainOf("image_width"), height: plainOf("image_height"), filesize: plainOf("file_size"),
  mpixels: { table: "posts", columns: SIZE, of: (width, height) => (width * height) / 1e6 },
  ratio: { table: "posts", columns: SIZE, of: (width, height) => (height > 0 ? twoDecimals(width / height) : NaN) },
  tagcount: plainOf("tag_count"), gentags: plainOf("tag_count_general"), arttags: plainOf("tag_count_artist"),
  chartags: plainOf("tag_count_character"), copytags: plainOf("tag_count_copyright"), metatags: plainOf("tag_count_meta"),
  pixiv_id: plainOf("pixiv_id"), user_id: plainOf("uploader_id"), approver_id: plainOf("approver_id"),
  parent: plainOf("parent_id"), date: plainOf("created_at"), change: plainOf("updated_at"),
  side: { table: "files", columns: ["width", "height"], of: (width, height) => Math.min(width, height) },
};
const KEPT = 8;

export class Numbers {
  constructor(tables, count) {
    this.tables = tables;
    this.count = count;
    this.held = new Map();
  }

  /** All values of a number. */
  get(field) {
    let values = this.held.get(field);
    this.held.delete(field);
    values ??= this.load(NUMBERS[field]);
    values.catch(() => this.held.delete(field));
    this.held.set(field, values);
    if (this.held.size > KEPT) this.held.delete(this.held.keys().next().value);
    return values;
  }

  async load({ table, columns, of }) {
    const parts = await Promise.all(columns.map((name) => this.column(this.tables[table], name)));
    const [first, second] = parts;
    for (let i = 0; i < first.length; i++) {
      if (Number.isNaN(first[i]) || (second && Number.isNaN(second[i]))) first[i] = NaN;
      else first[i] = second ? of(first[i], second[i]) : of(first[i]);
    }
    return first;
  }

  async column(table, name) {
    const values = new Float64Array(this.count).fill(NaN);
    await table?.column(name, (first, part) => {
      for (let i = 0; i < part.length; i++) {
        const value = part[i];
        if (value !== null && value !== undefined) values[first + i] = Number(value);
      }
    });
    return values;
  }
}
