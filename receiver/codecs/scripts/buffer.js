// Buffer, with what codecs use of it, behaving as the documentation of Node.js says.

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

class ByteBuffer extends Uint8Array {}

// Callable with and without `new`, as in Node.js, which a class is not.
function Buffer(source, encodingOrOffset, length) {
  if (typeof source === "number") return Buffer.alloc(source);
  return Buffer.from(source, encodingOrOffset, length);
}

function encodingNamed(name) {
  const encoding = name === undefined || name === null ? "utf8" : String(name).toLowerCase();
  switch (encoding) {
    case "utf8":
    case "utf-8":
      return "utf8";
    case "ucs2":
    case "ucs-2":
    case "utf16le":
    case "utf-16le":
      return "utf16le";
    case "latin1":
    case "binary":
      return "latin1";
    case "hex":
    case "ascii":
    case "base64":
    case "base64url":
      return encoding;
    default:
      throw new TypeError(`Unknown encoding: ${name}`);
  }
}

function base64Decode(text) {
  const bytes = [];
  let bits = 0;
  let kept = 0;
  for (const letter of text) {
    if (letter === "=") break;
    const value = BASE64.indexOf(letter === "-" ? "+" : letter === "_" ? "/" : letter);
    if (value < 0) continue; // white space and the like
    bits = ((bits << 6) | value) & 0xffff;
    kept += 6;
    if (kept >= 8) {
      kept -= 8;
      bytes.push((bits >> kept) & 0xff);
    }
  }
  return bytes;
}

function base64Encode(bytes, start, end) {
  let text = "";
  for (let at = start; at < end; at += 3) {
    const left = end - at;
    const bits = (bytes[at] << 16) | ((left > 1 ? bytes[at + 1] : 0) << 8) | (left > 2 ? bytes[at + 2] : 0);
    text += BASE64[bits >> 18] + BASE64[(bits >> 12) & 63];
    text += left > 1 ? BASE64[(bits >> 6) & 63] : "=";
    text += left > 2 ? BASE64[bits & 63] : "=";
  }
  return text;
}

function bytesFromText(text, name) {
  const encoding = encodingNamed(name);
  if (encoding === "utf8") return utf8Encode(text);
  if (encoding.startsWith("base64")) return base64Decode(text);
  const bytes = [];
  if (encoding === "hex") {
    for (let at = 0; at + 1 < text.length; at += 2) {
      const pair = text.slice(at, at + 2);
      if (!/^[0-9a-f]{2}$/i.test(pair)) break; // what follows a wrong digit is left out
      bytes.push(parseInt(pair, 16));
    }
    return bytes;
  }
  for (let at = 0; at < text.length; at++) {
    bytes.push(text.charCodeAt(at) & 0xff);
    if (encoding === "utf16le") bytes.push(text.charCodeAt(at) >> 8);
  }
  return bytes;
}

function textFromBytes(bytes, name, start, end) {
  const encoding = encodingNamed(name);
  let text = "";
  switch (encoding) {
    case "utf8":
      return utf8Decode(bytes, start, end, false);
    case "hex":
      for (let at = start; at < end; at++) text += (bytes[at] < 16 ? "0" : "") + bytes[at].toString(16);
      return text;
    case "base64":
      return base64Encode(bytes, start, end);
    case "base64url":
      return base64Encode(bytes, start, end).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
    case "utf16le":
      for (let at = start; at + 1 < end; at += 2) text += fromCharCode(bytes[at] | (bytes[at + 1] << 8));
      return text;
    default:
      for (let at = start; at < end; at++) text += fromCharCode(bytes[at] & (encoding === "ascii" ? 0x7f : 0xff));
      return text;
  }
}

function viewOf(buffer, offset, length) {
  return new ByteBuffer(buffer, offset, length);
}

function positionIn(length, position, otherwise) {
  const at = position === undefined ? otherwise : Math.trunc(Number(position)) || 0;
  return Math.min(Math.max(at < 0 ? at + length : at, 0), length);
}

Object.setPrototypeOf(Buffer, Uint8Array);
Buffer.prototype = ByteBuffer.prototype;
define(ByteBuffer.prototype, "constructor", Buffer);

const ofBuffer = {
  from(source, encodingOrOffset, length) {
    if (typeof source === "string") return new ByteBuffer(bytesFromText(source, encodingOrOffset));
    if (source instanceof ArrayBuffer) return viewOf(source, encodingOrOffset, length);
    if (source !== null && typeof source === "object") {
      if (source.type === "Buffer" && Array.isArray(source.data)) return new ByteBuffer(source.data);
      if (typeof source.length === "number") return new ByteBuffer(source);
      const primitive = source.valueOf();
      if (primitive !== source && primitive !== null) return Buffer.from(primitive, encodingOrOffset, length);
    }
    throw new TypeError("The first argument must be a text, a Buffer, an ArrayBuffer, an array or like an array");
  },
  alloc(size, fill, encoding) {
    if (typeof size !== "number") throw new TypeError('The "size" argument must be a number');
    const made = new ByteBuffer(size);
    return fill === undefined || fill === 0 ? made : made.fill(fill, encoding);
  },
  allocUnsafe: (size) => Buffer.alloc(size),
  allocUnsafeSlow: (size) => Buffer.alloc(size),
  isBuffer: (value) => value instanceof Buffer,
  isEncoding(name) {
    try {
      return typeof name === "string" && name !== "" && Boolean(encodingNamed(name));
    } catch {
      return false;
    }
  },
  byteLength(source, encoding) {
    return typeof source === "string" ? bytesFromText(source, encoding).length : source.byteLength;
  },
  concat(list, total) {
    let length = 0;
    for (const part of list) length += part.length;
    const joined = new ByteBuffer(total === undefined ? length : total);
    let at = 0;
    for (const part of list) {
      const fitting = part.subarray(0, Math.max(0, joined.length - at));
      joined.set(fitting, at);
      at += fitting.length;
    }
    return joined;
  },
  compare(one, other) {
    for (let at = 0; at < one.length && at < other.length; at++) {
      if (one[at] !== other[at]) return one[at] < other[at] ? -1 : 1;
    }
    return Math.sign(one.length - other.length);
  },
};

const ofBytes = {
  toString(encoding, start = 0, end = this.length) {
    const first = Math.min(Math.max(Math.trunc(start) || 0, 0), this.length);
    return textFromBytes(this, encoding, first, Math.min(Math.max(Math.trunc(end) || 0, first), this.length));
  },
  toLocaleString(encoding, start, end) {
    return this.toString(encoding, start, end);
  },
  toJSON() {
    return { type: "Buffer", data: Array.from(this) };
  },
  // A view of the same memory, unlike that of Uint8Array.
  slice(start, end) {
    return this.subarray(start, end);
  },
  subarray(start, end) {
    const first = positionIn(this.length, start, 0);
    const last = Math.max(first, positionIn(this.length, end, this.length));
    return viewOf(this.buffer, this.byteOffset + first, last - first);
  },
  equals(other) {
    return Buffer.compare(this, other) === 0;
  },
  compare(other, start, end, ownStart, ownEnd) {
    return Buffer.compare(this.subarray(ownStart, ownEnd), other.subarray(start, end));
  },
  copy(target, targetStart = 0, start = 0, end = this.length) {
    const part = this.subarray(start, Math.min(end, start + Math.max(0, target.length - targetStart)));
    target.set(part, targetStart);
    return part.length;
  },
  fill(value, start, end, encoding) {
    if (typeof start === "string") return this.fill(value, 0, this.length, start);
    if (typeof end === "string") return this.fill(value, start, this.length, end);
    if (typeof value === "number" || typeof value === "boolean") {
      return Uint8Array.prototype.fill.call(this, value & 0xff, start, end);
    }
    const pattern = typeof value === "string" ? bytesFromText(value, encoding) : value;
    const last = end === undefined ? this.length : end;
    for (let at = start === undefined ? 0 : start, from = 0; at < last; at++, from++) {
      this[at] = pattern.length === 0 ? 0 : pattern[from % pattern.length];
    }
    return this;
  },
  indexOf(value, offset, encoding) {
    if (typeof offset === "string") return this.indexOf(value, 0, offset);
    const first = positionIn(this.length, offset, 0);
    if (typeof value === "number") return Uint8Array.prototype.indexOf.call(this, value & 0xff, first);
    const sought = typeof value === "string" ? bytesFromText(value, encoding) : value;
    for (let at = first; at + sought.length <= this.length; at++) {
      let same = 0;
      while (same < sought.length && this[at + same] === sought[same]) same++;
      if (same === sought.length) return at;
    }
    return -1;
  },
  includes(value, offset, encoding) {
    return this.indexOf(value, offset, encoding) !== -1;
  },
  write(text, offset, length, encoding) {
    if (typeof offset === "string") return this.write(text, 0, this.length, offset);
    if (typeof length === "string") return this.write(text, offset, this.length, length);
    const first = offset === undefined ? 0 : offset;
    const room = Math.min(this.length - first, length === undefined ? this.length : length);
    const bytes = bytesFromText(String(text), encoding).slice(0, Math.max(0, room));
    this.set(bytes, first);
    return bytes.length;
  },
  readUIntBE(offset, size) {
    checkReach(this, offset, size);
    let value = 0;
    for (let at = 0; at < size; at++) value = value * 256 + this[offset + at];
    return value;
  },
  readUIntLE(offset, size) {
    checkReach(this, offset, size);
    let value = 0;
    for (let at = size - 1; at >= 0; at--) value = value * 256 + this[offset + at];
    return value;
  },
  readIntBE(offset, size) {
    return signed(this.readUIntBE(offset, size), size);
  },
  readIntLE(offset, size) {
    return signed(this.readUIntLE(offset, size), size);
  },
  writeUIntBE(value, offset, size) {
    return writeBytes(this, value, offset, size, 0, 2 ** (8 * size) - 1, true);
  },
  writeUIntLE(value, offset, size) {
    return writeBytes(this, value, offset, size, 0, 2 ** (8 * size) - 1, false);
  },
  writeIntBE(value, offset, size) {
    return writeBytes(this, value, offset, size, -(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1, true);
  },
  writeIntLE(value, offset, size) {
    return writeBytes(this, value, offset, size, -(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1, false);
  },
};
for (const size of [2, 4, 8]) {
  ofBytes[`swap${8 * size}`] = function () {
    if (this.length % size) throw new RangeError(`Buffer size must be a multiple of ${8 * size}-bits`);
    for (let at = 0; at < this.length; at += size) Uint8Array.prototype.reverse.call(this.subarray(at, at + size));
    return this;
  };
}

function checkReach(bytes, offset, size) {
  if (typeof size !== "number" || !(size >= 1 && size <= 6)) {
    throw new RangeError(`The value of "byteLength" is out of range. It must be >= 1 and <= 6. Received ${size}`);
  }
  checkOffset(bytes, offset, size);
}

function checkOffset(bytes, offset, size) {
  if (typeof offset !== "number") throw new TypeError(`The "offset" argument must be a number, not ${typeof offset}`);
  if (offset % 1 === 0 && offset >= 0 && offset + size <= bytes.length) return;
  if (bytes.length < size) throw new RangeError("Attempt to access memory outside buffer bounds");
  const most = bytes.length - size;
  throw new RangeError(`The value of "offset" is out of range. It must be >= 0 and <= ${most}. Received ${offset}`);
}

function checkValue(value, least, most) {
  if (value < least || value > most) {
    const range = `It must be >= ${least} and <= ${most}. Received ${value}`;
    throw new RangeError(`The value of "value" is out of range. ${range}`);
  }
}

function signed(value, size) {
  return value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value;
}

function writeBytes(bytes, given, offset, size, least, most, bigEndian) {
  checkReach(bytes, offset, size);
  const value = Math.trunc(Number(given)) || 0;
  checkValue(value, least, most);
  let rest = value < 0 ? value + 2 ** (8 * size) : value;
  for (let at = 0; at < size; at++) {
    bytes[offset + (bigEndian ? size - 1 - at : at)] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return offset + size;
}

// name, of DataView; bytes; least and greatest value that may be written
const NUMBERS = [
  ["UInt8", "Uint8", 1, 0, 0xff],
  ["Int8", "Int8", 1, -0x80, 0x7f],
  ["UInt16", "Uint16", 2, 0, 0xffff],
  ["Int16", "Int16", 2, -0x8000, 0x7fff],
  ["UInt32", "Uint32", 4, 0, 0xffffffff],
  ["Int32", "Int32", 4, -0x80000000, 0x7fffffff],
  ["BigUInt64", "BigUint64", 8, 0n, 2n ** 64n - 1n],
  ["BigInt64", "BigInt64", 8, -(2n ** 63n), 2n ** 63n - 1n],
  ["Float", "Float32", 4, null, null],
  ["Double", "Float64", 8, null, null],
];
for (const [name, viewName, size, least, most] of NUMBERS) {
  const get = DataView.prototype[`get${viewName}`];
  const set = DataView.prototype[`set${viewName}`];
  for (const order of size === 1 ? [""] : ["BE", "LE"]) {
    const little = order === "LE";
    ofBytes[`read${name}${order}`] = function (offset = 0) {
      checkOffset(this, offset, size);
      return Reflect.apply(get, new DataView(this.buffer, this.byteOffset, this.byteLength), [offset, little]);
    };
    ofBytes[`write${name}${order}`] = function (value, offset = 0) {
      checkOffset(this, offset, size);
      if (least !== null) checkValue(value, least, most);
      Reflect.apply(set, new DataView(this.buffer, this.byteOffset, this.byteLength), [offset, value, little]);
      return offset + size;
    };
  }
}

for (const name of Object.keys(ofBytes)) {
  define(ByteBuffer.prototype, name, ofBytes[name]);
  if (name.includes("UInt")) define(ByteBuffer.prototype, name.replace("UInt", "Uint"), ofBytes[name]);
}
for (const name of Object.keys(ofBuffer)) define(Buffer, name, ofBuffer[name]);
Object.defineProperty(Buffer, Symbol.species, { get: () => ByteBuffer, configurable: true });
define(world, "Buffer", Buffer);
