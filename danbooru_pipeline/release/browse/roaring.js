// Sets of post ids: read from the portable format of roaring bitmaps, combined, counted and walked in order.
// Format: https://github.com/RoaringBitmap/RoaringFormatSpec. A set is a map of what is above the lower 16 bits of ids to
// the words of a bitmap of these; damaged bytes raise RangeError. Ids may be larger than 32 bits, to which operators of
// bits cut a number, so what is above the lower 16 is a quotient.

const WORDS = 2048;
const RUNS_COOKIE = 12347;
const PLAIN_COOKIE = 12346;

function bitsOf(word) {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return (((x + (x >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

function countOf(words) {
  let count = 0;
  for (let i = 0; i < WORDS; i++) if (words[i]) count += bitsOf(words[i]);
  return count;
}

function keyOf(id) {
  return Math.floor(id / 65536);
}

function setRange(words, first, last) {
  for (let value = first; value <= last; value++) words[value >>> 5] |= 1 << (value & 31);
}

export class Posts {
  constructor(containers = new Map()) {
    this.containers = containers;
    this.counted = -1;
  }

  /** A set in the portable format of 32 bits. */
  static decode(bytes) {
    const posts = new Posts();
    posts.take(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
    return posts;
  }

  /** A set in that of 64 bits: the number of sets of 32 bits, then each after the bits that are above its own. */
  static decodeWide(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const posts = new Posts();
    let at = 8;
    for (let left = view.getBigUint64(0, true); left > 0n; left--) {
      const above = view.getUint32(at, true);
      at += 4 + posts.take(new DataView(view.buffer, view.byteOffset + at + 4), above * 65536);
    }
    return posts;
  }

  /** Adds the set of 32 bits that a view begins with, to whose keys another is added. Returns how many bytes it has. */
  take(view, above) {
    const cookie = view.getUint32(0, true);
    const hasRuns = (cookie & 0xffff) === RUNS_COOKIE;
    if (!hasRuns && cookie !== PLAIN_COOKIE) throw new RangeError("the index is damaged: no bitmap begins here");
    const size = hasRuns ? (cookie >>> 16) + 1 : view.getUint32(4, true);
    if (size > 65536) throw new RangeError("the index is damaged: a bitmap has too many containers");
    const runs = hasRuns ? new Uint8Array(view.buffer, view.byteOffset + 4, (size + 7) >> 3) : null;
    const heads = hasRuns ? 4 + runs.length : 8;
    let at = heads + 4 * size + (!hasRuns || size >= 4 ? 4 * size : 0);
    for (let n = 0; n < size; n++) {
      const key = view.getUint16(heads + 4 * n, true);
      const count = view.getUint16(heads + 4 * n + 2, true) + 1;
      const words = new Uint32Array(WORDS);
      if (runs && (runs[n >> 3] >> (n & 7)) & 1) {
        const pieces = view.getUint16(at, true);
        at += 2;
        for (let k = 0; k < pieces; k++, at += 4) {
          const first = view.getUint16(at, true);
          setRange(words, first, Math.min(65535, first + view.getUint16(at + 2, true)));
        }
      } else if (count <= 4096) {
        for (let k = 0; k < count; k++, at += 2) {
          const value = view.getUint16(at, true);
          words[value >>> 5] |= 1 << (value & 31);
        }
      } else {
        for (let k = 0; k < WORDS; k++, at += 4) words[k] = view.getUint32(at, true);
      }
      this.containers.set(above + key, words);
    }
    return at;
  }

  get count() {
    if (this.counted < 0) {
      this.counted = 0;
      for (const words of this.containers.values()) this.counted += countOf(words);
    }
    return this.counted;
  }

  has(id) {
    const words = this.containers.get(keyOf(id));
    return words !== undefined && ((words[(id & 0xffff) >>> 5] >>> (id & 31)) & 1) === 1;
  }

  add(id) {
    this.counted = -1;
    let words = this.containers.get(keyOf(id));
    if (words === undefined) this.containers.set(keyOf(id), (words = new Uint32Array(WORDS)));
    words[(id & 0xffff) >>> 5] |= 1 << (id & 31);
  }

  /** Those that both sets have. */
  and(other) {
    const found = new Posts();
    for (const [key, mine] of this.containers) {
      const theirs = other.containers.get(key);
      if (theirs === undefined) continue;
      const words = new Uint32Array(WORDS);
      for (let i = 0; i < WORDS; i++) words[i] = mine[i] & theirs[i];
      found.containers.set(key, words);
    }
    return found;
  }

  /** Those that the other set does not have. */
  without(other) {
    const found = new Posts();
    for (const [key, mine] of this.containers) {
      const theirs = other.containers.get(key);
      const words = mine.slice();
      if (theirs !== undefined) for (let i = 0; i < WORDS; i++) words[i] &= ~theirs[i];
      found.containers.set(key, words);
    }
    return found;
  }

  /** Those that any of some sets has. */
  static union(sets) {
    const found = new Posts();
    for (const set of sets) {
      for (const [key, theirs] of set.containers) {
        const words = found.containers.get(key);
        if (words === undefined) found.containers.set(key, theirs.slice());
        else for (let i = 0; i < WORDS; i++) words[i] |= theirs[i];
      }
    }
    return found;
  }

  keys({ descending }) {
    return [...this.containers.keys()].sort((a, b) => (descending ? b - a : a - b));
  }

  /** Ids from the smallest to the largest. */
  *ascending() {
    for (const key of this.keys({ descending: false })) {
      const words = this.containers.get(key);
      for (let i = 0; i < WORDS; i++) {
        for (let word = words[i]; word !== 0; word &= word - 1) {
          yield key * 65536 + i * 32 + 31 - Math.clz32(word & -word);
        }
      }
    }
  }

  /** Ids from the largest to the smallest, below a given one. */
  *descending(below = Infinity) {
    for (const key of this.keys({ descending: true })) {
      if (key * 65536 >= below) continue;
      const words = this.containers.get(key);
      for (let i = WORDS - 1; i >= 0; i--) {
        for (let word = words[i]; word !== 0; ) {
          const bit = 31 - Math.clz32(word);
          word &= ~(1 << bit);
          const id = key * 65536 + i * 32 + bit;
          if (id < below) yield id;
        }
      }
    }
  }
}

/** Ids in their order, by number, and the number of an id: the tables have a row for each in this order. */
export class Ranks {
  constructor(posts) {
    this.posts = posts;
    this.before = new Map();
    let count = 0;
    for (const key of posts.keys({ descending: false })) {
      this.before.set(key, count);
      count += countOf(posts.containers.get(key));
    }
    this.count = count;
  }

  /** How many posts have a smaller id; -1 if there is no such post. */
  of(id) {
    if (!this.posts.has(id)) return -1;
    const words = this.posts.containers.get(keyOf(id));
    const last = (id & 0xffff) >>> 5;
    let rank = this.before.get(keyOf(id));
    for (let i = 0; i < last; i++) rank += bitsOf(words[i]);
    return rank + bitsOf(words[last] & ((1 << (id & 31)) - 1));
  }

  /** The posts whose number meets a condition. */
  where(values, meets) {
    const found = new Posts();
    let rank = 0;
    for (const key of this.posts.keys({ descending: false })) {
      const words = this.posts.containers.get(key);
      const kept = new Uint32Array(WORDS);
      for (let i = 0; i < WORDS; i++) {
        for (let word = words[i]; word !== 0; word &= word - 1) {
          if (meets(values[rank++])) kept[i] |= word & -word;
        }
      }
      found.containers.set(key, kept);
    }
    return found;
  }

  /** Calls `visit(id, rank)` for those posts of a set that there are, by ascending id. */
  visit(set, visit) {
    let rank = 0;
    for (const key of this.posts.keys({ descending: false })) {
      const words = this.posts.containers.get(key);
      const wanted = set.containers.get(key);
      for (let i = 0; i < WORDS; i++) {
        if (wanted === undefined || (wanted[i] & words[i]) === 0) {
          if (words[i]) rank += bitsOf(words[i]);
          continue;
        }
        for (let word = words[i]; word !== 0; word &= word - 1) {
          const bit = word & -word;
          if (wanted[i] & bit) visit(key * 65536 + i * 32 + 31 - Math.clz32(bit), rank);
          rank += 1;
        }
      }
    }
  }
}
