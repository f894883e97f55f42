// Reads parts of the release's files by HTTP range requests; where a host knows no ranges, whole files, once each.
// Nothing else here fetches. Ranges that are asked for in the same moment and lie close together are one request.

const NEAR_BYTES = 32 * 1024;

export class Files {
  /** @param {URL} base - of the release */
  constructor(base) {
    this.base = base;
    this.requests = 0;
    this.bytes = 0;
    this.waiting = new Map();
    this.whole = new Map();
    this.knowsRanges = null; // a promise, from the first request on
  }

  /** A whole file of JSON. */
  async json(path) {
    const response = await this.fetch(path, {});
    const data = await response.arrayBuffer();
    this.bytes += data.byteLength;
    return JSON.parse(new TextDecoder().decode(data));
  }

  /** The bytes of a file from start up to end, which is not included. */
  range(path, start, end) {
    if (end <= start) return Promise.resolve(new Uint8Array(0));
    return new Promise((resolve, reject) => {
      const waiting = this.waiting.get(path) ?? [];
      waiting.push({ start, end, resolve, reject });
      this.waiting.set(path, waiting);
      if (waiting.length === 1) queueMicrotask(() => this.send(path));
    });
  }

  send(path) {
    const waiting = this.waiting.get(path).sort((a, b) => a.start - b.start);
    this.waiting.delete(path);
    let group = [];
    let end = 0;
    for (const each of waiting) {
      if (group.length && each.start > end + NEAR_BYTES) {
        this.answer(path, group, end);
        group = [];
      }
      end = group.length ? Math.max(end, each.end) : each.end;
      group.push(each);
    }
    this.answer(path, group, end);
  }

  async answer(path, group, end) {
    const start = group[0].start;
    try {
      const bytes = await this.read(path, start, end);
      for (const each of group) each.resolve(bytes.subarray(each.start - start, each.end - start));
    } catch (error) {
      for (const each of group) each.reject(error);
    }
  }

  async read(path, start, end) {
    if (this.knowsRanges === null) {
      // The first request tells what the host can do, so that no file is fetched whole twice.
      const first = this.request(path, start, end);
      this.knowsRanges = first.then((bytes) => bytes !== null, () => { this.knowsRanges = null; return true; });
      const bytes = await first;
      return bytes ?? (await this.whole.get(path)).subarray(start, end);
    }
    if (await this.knowsRanges) {
      const bytes = await this.request(path, start, end);
      if (bytes !== null) return bytes;
    }
    if (!this.whole.has(path)) {
      const all = this.fetch(path, {}).then((response) => this.bytesOf(response));
      this.whole.set(path, all);
      all.catch(() => this.whole.delete(path));
    }
    return (await this.whole.get(path)).subarray(start, end);
  }

  /** A range; null, and the whole file kept, if the host sends all of it. */
  async request(path, start, end) {
    const response = await this.fetch(path, { headers: { Range: `bytes=${start}-${end - 1}` } });
    const bytes = await this.bytesOf(response);
    if (response.status !== 206) {
      this.whole.set(path, Promise.resolve(bytes));
      return null;
    }
    if (bytes.length !== end - start) {
      throw new Error(`${path}: the host sent ${bytes.length} of ${end - start} bytes; reload the page`);
    }
    return bytes;
  }

  async bytesOf(response) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    this.bytes += bytes.length;
    return bytes;
  }

  async fetch(path, options) {
    this.requests += 1;
    const response = await fetch(new URL(path, this.base), options);
    if (!response.ok) throw new Error(`${path}: the host answered ${response.status}`);
    return response;
  }
}
