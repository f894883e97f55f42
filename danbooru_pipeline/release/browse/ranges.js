// Values of metatags that are numbers: `5`, `>5`, `<=5`, `1..5`, `1...5`, `5..`, `..5` and lists of them, with units.
// As `danbooru_pipeline/search/ranges.py` reads them; a range is {low, high, openLow, openHigh}, null for no end.

const SIGNS = [">=", "=>", "<=", "=<", ">", "<"];
const UNIT_BYTES = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
const UNIT_SECONDS = { s: 1, mi: 60, h: 3600, d: 86400, w: 604800, mo: 30 * 86400, y: 365 * 86400 };
const DAY = 86_400_000_000;

const range = (low, high, openLow = false, openHigh = false) => ({ low, high, openLow, openHigh });

export function parseRanges(value, read) {
  return value.split(",").map((part) => one(part, read));
}

function one(part, read) {
  const sign = SIGNS.find((each) => part.startsWith(each));
  if (sign) {
    const point = read(part.slice(sign.length));
    if (sign.includes(">")) {
      return sign.includes("=") ? range(point.low, null) : range(point.high, null, !point.openHigh);
    }
    return sign.includes("=") ? range(null, point.high, false, point.openHigh) : range(null, point.low, false, true);
  }
  const dots = part.includes("...") ? "..." : part.includes("..") ? ".." : null;
  if (dots === null) return read(part);
  const at = part.indexOf(dots);
  return between(part.slice(0, at), part.slice(at + dots.length), read, dots === "...");
}

function between(first, last, read, isOpen) {
  let low = first ? read(first) : null;
  let high = last ? read(last) : null;
  if (!low && !high) throw new Error("expects a number on one side of ..");
  if (low && high && low.low > high.high) [low, high] = [high, low];
  if (!high) return range(low.low, null);
  return isOpen
    ? range(low && low.low, high.low, false, true)
    : range(low && low.low, high.high, false, high.openHigh);
}

const point = (value) => range(value, value);

function matched(pattern, text, expects) {
  const match = pattern.exec(text);
  if (!match) throw new Error(`expects ${expects}`);
  return match;
}

export function integer(text) {
  return point(Number(matched(/^[+-]?[0-9]{1,18}$/, text, "a whole number, like 5, >5, 1..5 or 1,2,3")[0]));
}

const DECIMAL = /^[+-]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})$/;

export function decimal(text) {
  return point(Number(matched(DECIMAL, text, "a number, like 2.5, >2 or 1..2")[0]));
}

export function size(text) {
  const pattern = /^([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})\s*(b|kb?|mb?|gb?)?$/i;
  const match = matched(pattern, text, "a size, like 500kb, >2mb or 1m..2m");
  return point(Math.trunc(Number(match[1]) * UNIT_BYTES[(match[2] ?? "").slice(0, 1).toLowerCase()]));
}

/** To two decimals, halves to the even one, as Python rounds. */
export function twoDecimals(value) {
  return Number(value.toFixed(2));
}

export function ratio(text) {
  const match = /^([0-9]{1,9}(?:\.[0-9]{0,9})?)[:/]([0-9]{1,9}(?:\.[0-9]{0,9})?)$/.exec(text);
  if (match && Number(match[2])) return point(twoDecimals(Number(match[1]) / Number(match[2])));
  return point(twoDecimals(Number(matched(DECIMAL, text, "a ratio, like 16:9, 4/3, 1.78 or >1")[0])));
}

export function date(text) {
  const expects = "a date, like 2020-01-31, 2020-01, 2020, >2019 or 2020-01-01..2020-06-30";
  const [, year, month, day] = matched(/^([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?$/, text, expects).map(Number);
  const first = new Date(Date.UTC(2000, (month || 1) - 1, day || 1));
  first.setUTCFullYear(year, (month || 1) - 1, day || 1);
  const isSame = first.getUTCMonth() + 1 === (month || 1) && first.getUTCDate() === (day || 1);
  if (!year || !isSame || month === 0 || day === 0) throw new Error(`expects ${expects}`);
  const end = new Date(first);
  if (day) end.setUTCDate(day + 1);
  else if (month) end.setUTCMonth(month);
  else end.setUTCFullYear(year + 1);
  return range(first.getTime() * 1000, end.getTime() * 1000, false, true);
}

export function age(text) {
  const pattern = /^([0-9]{1,9}(?:\.[0-9]{0,9})?)\s*(s|seconds?|mi|minutes?|h|hours?|d|days?|w|weeks?|mo|months?|y|years?)$/i;
  const match = matched(pattern, text, "an age, like <3d, 2weeks..1month or >1y");
  const unit = match[2].toLowerCase();
  const short = ["mi", "mo"].includes(unit.slice(0, 2)) ? unit.slice(0, 2) : unit.slice(0, 1);
  return point(Math.trunc((Number(match[1]) * UNIT_SECONDS[short] * DAY) / 86_400));
}

/** Points as what is within 5 % of them. */
export function nearly(ranges) {
  return ranges.map((each) =>
    each.low !== null && each.low === each.high ? range(each.low * 0.95, each.high * 1.05) : each);
}

/** The dates of a range of ages. */
export function datesOf(each, cutoff) {
  return range(
    each.high === null ? null : cutoff - each.high, each.low === null ? null : cutoff - each.low, each.openHigh, each.openLow,
  );
}

/** Whether a number is in one of some ranges; null and NaN are in none. */
export function inside(ranges) {
  return (value) => ranges.some(({ low, high, openLow, openHigh }) =>
    value === value && value !== null &&
    (low === null || (openLow ? value > low : value >= low)) && (high === null || (openHigh ? value < high : value <= high)));
}
