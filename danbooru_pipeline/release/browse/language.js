// The search language: what is typed becomes a tree of conditions. A subset of what `danbooru-pipeline select` takes
// (`danbooru_pipeline/search/`), in the same grammar; a metatag that is missing here is refused, never taken for a tag.

import * as ranges from "./ranges.js";

const FACES = new Set([":)", ":(", ";)", ";(", ":'(", "=)", "8)", ">:)", ">:(", "):", "(:"]);
const DEEPEST = 100;

export class BadSearch extends Error {
  /** @param position - in the text, from 0 */
  constructor(message, position) {
    super(message);
    this.position = position;
  }
}

/** Metatags that `select` knows and a page cannot answer. */
export const NOT_HERE = ["source", "md5", "split"];
/** Metatags of the site that no release can answer. */
export const NOWHERE = [
  "user", "uploader", "approver", "commenter", "comm", "noter", "noteupdater", "artcomm", "commentaryupdater",
  "flagger", "appealer", "upvote", "downvote", "upvoter", "downvoter", "ordfav", "favgroup", "ordfavgroup",
  "disapproved", "search", "reacted", "embedded", "exif", "duration", "pixelhash", "ai", "unaliased", "ordpool",
];

const RATINGS = { g: "general", s: "sensitive", q: "questionable", e: "explicit" };
const STATUSES = ["deleted", "pending", "flagged", "banned"];
const EXTENSIONS = "avi avif bmp gif html jpeg jpg mp3 mp4 mpg pdf png rar swf webm webp wmv zip".split(" ");
const DUPLICATES = ["identical", "recompressed", "cropped", "variant"];
const QUALITIES = ["few_colors", "nearly_white", "nearly_black", "empty_alpha", "hdr"];
const FILES = ["ok", "missing", "withheld", "removed", "quarantined", "pending"];
const SIDES = ["notes", "commentary", "comments"];

const and = (parts) => (parts.length === 1 ? parts[0] : { kind: "and", parts });
const or = (parts) => (parts.length === 1 ? parts[0] : { kind: "or", parts });
const not = (part) => ({ kind: "not", part });
const among = (field, values) => ({ kind: "among", field, values });
const present = (field) => ({ kind: "present", field });
const within = (field, value, read) => ({ kind: "within", field, ranges: ranges.parseRanges(value, read) });
const ACTIVE = not(among("status", STATUSES));

const number = (field, read = ranges.integer) => (value) => within(field, value, read);
const nullable = (field) => (value) => anyOrNone(value, present(field)) ?? within(field, value, ranges.integer);

function anyOrNone(value, condition) {
  if (value.toLowerCase() === "any") return condition;
  return value.toLowerCase() === "none" ? not(condition) : null;
}

function about(field, read) {
  return (value) => ({ kind: "within", field, ranges: ranges.nearly(ranges.parseRanges(value, read)) });
}

function words(field, known) {
  return (value) => {
    const given = value.toLowerCase().split(",");
    const unknown = given.find((word) => !known.includes(word));
    if (unknown !== undefined) throw new Error(`has no “${unknown}”, only ${known.join(", ")}`);
    return among(field, given);
  };
}

function choice(known) {
  return (value) => or(value.toLowerCase().split(",").map((word) => {
    if (!Object.hasOwn(known, word)) throw new Error(`has no “${word}”, only ${Object.keys(known).join(", ")}`);
    return known[word];
  }));
}

function rating(value) {
  return among("rating", value.toLowerCase().split(",").map((word) => {
    const letter = word === "safe" ? "s" : word.slice(0, 1);
    if (!(letter in RATINGS) || !(RATINGS[letter].startsWith(word) || word === "safe")) {
      throw new Error(`has no “${word}”, only g, s, q, e or their names`);
    }
    return letter;
  }));
}

function status(value) {
  const given = value.toLowerCase().split(",");
  if (given.some((word) => word === "any" || word === "all")) return { kind: "and", parts: [] };
  return choice({
    active: ACTIVE,
    modqueue: among("status", ["pending", "flagged"]),
    unmoderated: among("status", ["pending", "flagged"]),
    ...Object.fromEntries(STATUSES.map((word) => [word, among("status", [word])])),
  })(value);
}

const orNone = (field, known) => (value) => anyOrNone(value, among(field, known)) ?? words(field, known)(value);
const side = (name) => (value) => {
  const word = { true: "any", false: "none" }[value.toLowerCase()] ?? value;
  const found = anyOrNone(word, among("has", [name]));
  if (found === null) throw new Error("expects any or none; the text of it is not indexed");
  return found;
};
const CHILDREN = among("children", ["any"]);

function parent(value) {
  return anyOrNone(value, present("parent"))
    ?? or([within("parent", value, ranges.integer), within("id", value, ranges.integer)]);
}

const METATAGS = {
  id: number("id"), rating, score: number("score"), upvotes: number("upvotes"), downvotes: number("downvotes"),
  favcount: number("favcount"), fav: number("favcount"), width: number("width"), height: number("height"),
  mpixels: about("mpixels", ranges.decimal), ratio: number("ratio", ranges.ratio), filesize: about("filesize", ranges.size),
  filetype: words("filetype", EXTENSIONS), date: number("date", ranges.date), age: number("age", ranges.age),
  tagcount: number("tagcount"), gentags: number("gentags"), arttags: number("arttags"), chartags: number("chartags"),
  copytags: number("copytags"), metatags: number("metatags"), status, parent,
  child: (value) => anyOrNone(value, CHILDREN) ?? within("child", value, ranges.integer),
  pool: (value) => anyOrNone(value, among("pool", ["any"])) ?? { kind: "pool", name: value },
  pixiv_id: nullable("pixiv_id"), pixiv: nullable("pixiv_id"), user_id: nullable("user_id"), approver_id: nullable("approver_id"),
  is: choice({
    parent: CHILDREN, child: present("parent"), sfw: among("rating", ["g", "s"]), nsfw: among("rating", ["q", "e"]),
    active: ACTIVE, ...Object.fromEntries(STATUSES.map((word) => [word, among("status", [word])])),
    ...Object.fromEntries(Object.entries(RATINGS).map(([letter, name]) => [name, among("rating", [letter])])),
    ...Object.fromEntries(EXTENSIONS.map((ext) => [ext, among("filetype", [ext])])),
  }),
  has: choice({
    parent: present("parent"), children: CHILDREN, pools: among("pool", ["any"]),
    ...Object.fromEntries(SIDES.map((name) => [name, among("has", [name])])),
  }),
  note: side("notes"), commentary: side("commentary"), comment: side("comments"),
  duplicate: orNone("duplicate", DUPLICATES), quality: orNone("quality", QUALITIES), file: words("file", FILES),
  image: words("image", ["512px", "original"]), side: number("side"),
  bucket: (value) => within("bucket", /^\d+-\d+$/.test(value) ? value.replace("-", "..") : value, ranges.integer),
};
export const KNOWN = Object.keys(METATAGS);

/** Names of `order:` -> the number that is compared, and whether the smallest comes first. */
export const ORDERS = {
  ...Object.fromEntries(
    ("score upvotes downvotes favcount mpixels filesize width height tagcount gentags arttags chartags copytags " +
      "metatags date ratio side").split(" ").map((name) => [name, { field: name, ascending: false }]),
  ),
  id: { field: "id", ascending: true }, created_at: { field: "date", ascending: false },
  change: { field: "change", ascending: false }, landscape: { field: "ratio", ascending: false },
  portrait: { field: "ratio", ascending: true }, random: { field: "random", ascending: false },
};

function readOrder(value) {
  const name = value.toLowerCase();
  if (name === "none") return null;
  const [, base, ending] = /^(.*?)(_asc|_desc)?$/.exec(name);
  if (Object.hasOwn(ORDERS, base) && ending) return { field: ORDERS[base].field, ascending: ending === "_asc" };
  if (Object.hasOwn(ORDERS, name)) return ORDERS[name];
  throw new Error(`has no “${value}”, only ${Object.keys(ORDERS).join(", ")}, each also with _asc or _desc`);
}

/** Words, signs and parentheses, each with its position. */
function tokensOf(text) {
  const tokens = [];
  let at = 0;
  let depth = 0;
  while (at < text.length) {
    const letter = text[at];
    const run = /^\S*/.exec(text.slice(at, at + 1000))[0];
    if (run === "") at += 1;
    else if (letter === "(" && !isTag(run)) {
      tokens.push({ sign: "(", text: "(", at });
      depth += 1;
      at += 1;
    } else if (letter === ")" && !FACES.has(run)) {
      tokens.push({ sign: ")", text: ")", at });
      depth = Math.max(0, depth - 1);
      at += 1;
    } else if ((letter === "-" || letter === "~") && run.length > 1) {
      tokens.push({ sign: letter, text: letter, at });
      at += 1;
    } else {
      const word = wordAt(text, at, depth);
      const lower = word.toLowerCase();
      tokens.push({ sign: lower === "or" || lower === "and" ? lower : "word", text: word, at });
      at += word.length;
    }
  }
  return tokens;
}

const timesIn = (letter, word) => word.split(letter).length - 1;

function isTag(run) {
  if (FACES.has(run)) return true;
  const close = run.indexOf(")");
  return close > 0 && close < run.length - 1 && !")-~(".includes(run[close + 1]) && timesIn("(", run) === timesIn(")", run);
}

function wordAt(text, at, depth) {
  const quoted = /^[\p{L}\p{N}_]+:(["'])/u.exec(text.slice(at));
  if (quoted) {
    const start = at + quoted[0].length - 1;
    let end = start + 1;
    while (end < text.length && text[end] !== quoted[1]) end += text[end] === "\\" ? 2 : 1;
    if (end >= text.length) throw new BadSearch(`the quotation mark ${quoted[1]} is never closed`, start);
    return text.slice(at, end + 1);
  }
  let word = /^\S*/.exec(text.slice(at))[0];
  if (FACES.has(word) && !(depth && !text.slice(at + word.length).includes(")"))) return word;
  for (let open = depth; open && word.length > 1 && word.endsWith(")") && timesIn(")", word) > timesIn("(", word); open--) {
    word = word.slice(0, -1);
    if (FACES.has(word)) break;
  }
  return word;
}

class Parser {
  constructor(text) {
    this.tokens = tokensOf(text);
    this.end = text.length;
    this.next = 0;
    this.order = null;
    this.limit = null;
  }

  get sign() {
    return this.tokens[this.next]?.sign;
  }

  get at() {
    return this.tokens[this.next]?.at ?? this.end;
  }

  group(depth) {
    if (depth > DEEPEST) throw new BadSearch(`parentheses are nested deeper than ${DEEPEST}`, this.at);
    const parts = [this.all(depth)];
    while (this.sign === "or") {
      this.next += 1;
      parts.push(this.all(depth));
    }
    return or(parts);
  }

  all(depth) {
    const start = this.next;
    const needed = [];
    const optional = [];
    while (this.sign !== undefined && this.sign !== "or" && this.sign !== ")") {
      if (this.sign === "and") {
        if (this.next === start) throw new BadSearch("nothing stands before “and”", this.at);
        this.next += 1;
        if ([undefined, "or", "and", ")"].includes(this.sign)) throw new BadSearch("nothing stands after “and”", this.at);
        continue;
      }
      const factor = this.factor(depth);
      if (factor !== null) (factor.optional ? optional : needed).push(factor.node);
    }
    if (this.next === start && this.tokens.length) throw new BadSearch("a tag is missing here", this.at);
    if (optional.length) needed.push(or(optional));
    return and(needed);
  }

  factor(depth) {
    let minus = false;
    let tilde = false;
    const first = this.next;
    while (this.sign === "-" || this.sign === "~") {
      if (this.sign === "-") minus = !minus;
      else tilde = true;
      this.next += 1;
    }
    if ([undefined, "or", "and", ")"].includes(this.sign)) {
      throw new BadSearch(`nothing stands after “${this.tokens[this.next - 1].text}”`, this.tokens[this.next - 1].at);
    }
    const bare = first === this.next && depth === 0;
    const node = this.sign === "(" ? this.parenthesis(depth) : this.word(this.tokens[this.next++], bare);
    return node === null ? null : { node: minus ? not(node) : node, optional: tilde };
  }

  parenthesis(depth) {
    const opened = this.at;
    this.next += 1;
    const node = this.group(depth + 1);
    if (this.sign !== ")") throw new BadSearch("the parenthesis is never closed", opened);
    this.next += 1;
    return node;
  }

  word({ text, at }, isBare) {
    const colon = text.indexOf(":");
    const name = text.slice(0, Math.max(0, colon)).toLowerCase();
    const value = unquoted(text.slice(colon + 1));
    if (["order", "limit", "random", "seed"].includes(name)) {
      if (!isBare) throw new BadSearch(`${name}: cannot be excluded, optional or in parentheses`, at);
      this.option(name, value, at);
      return null;
    }
    if (Object.hasOwn(METATAGS, name)) {
      if (!value) throw new BadSearch(`${name}: needs a value`, at);
      const node = readValue(name, value, at, METATAGS[name]);
      return node.kind === "pool" ? { ...node, at } : node;
    }
    if (value && NOT_HERE.includes(name)) {
      throw new BadSearch(`${name}: is not known here; danbooru-pipeline select takes it`, at);
    }
    if (value && NOWHERE.includes(name)) throw new BadSearch(`${name}: asks for what no release has`, at);
    return { kind: text.includes("*") ? "wildcard" : "tag", name: text, at };
  }

  option(name, value, at) {
    if (name === "order") this.order = readValue(name, value, at, readOrder);
    else if (name === "limit") this.limit = readValue(name, value, at, ranges.integer).low;
    else throw new BadSearch(`${name}: is not known here; danbooru-pipeline select takes it`, at);
  }
}

function unquoted(value) {
  if (value.length < 2 || !`"'`.includes(value[0]) || value.at(-1) !== value[0]) return value;
  return value.slice(1, -1).replace(/\\(.?)/g, "$1");
}

function readValue(name, value, at, reader) {
  try {
    return reader(value);
  } catch (error) {
    throw new BadSearch(`${name}:${value} is not possible: ${name} ${error.message}`, at + name.length + 1);
  }
}

/** A search as it is typed -> {root, order, limit}. Throws BadSearch, which says where. */
export function parse(text) {
  const parser = new Parser(text);
  const root = parser.tokens.length ? parser.group(0) : and([]);
  if (parser.sign !== undefined) throw new BadSearch("nothing opens this parenthesis", parser.at);
  return { root, order: parser.order, limit: parser.limit };
}
