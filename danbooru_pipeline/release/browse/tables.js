// Tables of the release: single rows and whole columns of its Parquet files. Rows are found by the offset index that
// each column has, so a row costs one page of each column that is wanted.

import { parquetMetadataAsync } from "./vendor/hyparquet/metadata.js";
import { parquetRead } from "./vendor/hyparquet/read.js";
import { decompress } from "./vendor/fzstd/index.js";

// Without a buffer of ours: given one, fzstd compares it to 1, for which JavaScript writes all its bytes out as text. That
// took a third of the time of a column (2026-11-29).
const compressors = { ZSTD: (input) => decompress(input) };
const text = new TextDecoder();
// Instants stay numbers of microseconds; texts are read leniently.
const parsers = {
  timestampFromMicroseconds: Number,
  timestampFromMilliseconds: (value) => Number(value) * 1000,
  timestampFromNanoseconds: (value) => Number(value / 1000n),
  dateFromDays: Number,
  stringFromBytes: (bytes) => bytes && text.decode(bytes),
  jsonFromBytes: (bytes) => bytes && text.decode(bytes),
  geometryFromBytes: (bytes) => bytes,
  geographyFromBytes: (bytes) => bytes,
  uuidFromBytes: (bytes) => bytes,
};
const FOOTER_BYTES = 64 * 1024;

/** Numbers of 64 bits as plain ones: ids and sizes are far below the limit. */
export function plain(value) {
  if (typeof value === "bigint") return Number(value);
  return Array.isArray(value) ? value.map(plain) : value;
}

export class Table {
  /** @param shards - `[path, rows, bytes]` of each file, in the order of the rows */
  constructor(files, shards) {
    let first = 0;
    this.shards = shards.map(([path, rows, bytes]) => {
      const file = {
        byteLength: bytes,
        slice: async (start, end) => {
          const part = await files.range(path, start, end ?? bytes);
          return part.buffer.slice(part.byteOffset, part.byteOffset + part.byteLength);
        },
      };
      const shard = { file, rows, first, metadata: null };
      first += rows;
      return shard;
    });
    this.rows = first;
  }

  /** What the footer of a file says. */
  metadata(shard) {
    shard.metadata ??= parquetMetadataAsync(shard.file, { initialFetchSize: FOOTER_BYTES }).catch((error) => {
      shard.metadata = null;
      throw error;
    });
    return shard.metadata;
  }

  /** Names of the columns. */
  async columns() {
    if (!this.shards.length) return [];
    const { schema } = await this.metadata(this.shards[0]);
    const names = [];
    for (let at = 1, top = 0; top < schema[0].num_children; top++) {
      names.push(schema[at].name);
      at = after(schema, at);
    }
    return names;
  }

  /** Rows from start up to end as objects with those of the columns that the table has. */
  async read(start, end, wanted) {
    const held = new Set(await this.columns());
    const columns = wanted.filter((name) => held.has(name));
    const parts = this.shards
      .filter((shard) => shard.first < end && shard.first + shard.rows > start)
      .map((shard) => this.readShard(shard, Math.max(0, start - shard.first), Math.min(shard.rows, end - shard.first), columns));
    return (await Promise.all(parts)).flat();
  }

  async readShard(shard, rowStart, rowEnd, columns) {
    const metadata = await this.metadata(shard);
    let rows = [];
    await parquetRead({
      file: shard.file, metadata, columns, rowStart, rowEnd, compressors, parsers,
      useOffsetIndex: true, rowFormat: "object", onComplete: (found) => { rows = found; },
    });
    for (const row of rows) for (const name of columns) row[name] = plain(row[name]);
    return rows;
  }

  /** Calls `visit(first row, values)` for each part of a column; false if the table has no such column. */
  async column(name, visit) {
    if (!(await this.columns()).includes(name)) return false;
    await Promise.all(this.shards.map(async (shard) => {
      const metadata = await this.metadata(shard);
      await parquetRead({
        file: shard.file, metadata, columns: [name], compressors, parsers,
        onChunk: ({ columnData, rowStart }) => visit(shard.first + rowStart, columnData),
      });
    }));
    return true;
  }

  /** Some columns of a group of rows of the first file, each as one array. */
  async group(number, columns) {
    const [shard] = this.shards;
    const metadata = await this.metadata(shard);
    const starts = metadata.row_groups.map((group) => Number(group.num_rows));
    const rowStart = starts.slice(0, number).reduce((sum, rows) => sum + rows, 0);
    const found = Object.fromEntries(columns.map((name) => [name, new Array(starts[number])]));
    await parquetRead({
      file: shard.file, metadata, columns, rowStart, rowEnd: rowStart + starts[number], compressors, parsers,
      onChunk: ({ columnName, columnData, rowStart: at }) => {
        for (let i = 0; i < columnData.length; i++) found[columnName][at - rowStart + i] = plain(columnData[i]);
      },
    });
    return found;
  }
}

function after(schema, at) {
  let next = at + 1;
  for (let n = 0; n < (schema[at].num_children ?? 0); n++) next = after(schema, next);
  return next;
}

const INTEGER = /^(0|-?[1-9][0-9]{0,18})$/;

/** A value of a side table as a number: a source may have a word among them, and then all of a column are text. */
export function numberOf(value) {
  if (typeof value === "bigint" || typeof value === "number") return Number(value);
  return typeof value === "string" && INTEGER.test(value) ? Number(value) : NaN;
}

/** A value of a side table as text; null where there is none. */
export const textOf = (value) => (value === null || value === undefined ? null : String(value));
