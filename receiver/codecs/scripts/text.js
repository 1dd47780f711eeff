// UTF-8, as the Encoding Standard of the WHATWG has it, and the classes that codecs use it through.
//
// The files of this directory are one text to QuickJS: text.js, buffer.js, results.js, functions.js and calls.js stand
// in one function, in this order; its last statement gives what the process calls. What they keep to themselves no
// codec can reach or replace.

"use strict";

const { fromCharCode } = String;
const { defineProperty } = Object;
const world = globalThis;

function utf8Encode(text) {
  const bytes = [];
  let length = 0;
  for (let at = 0; at < text.length; at++) {
    let unit = text.charCodeAt(at);
    if (unit >= 0xd800 && unit < 0xe000) {
      const low = unit < 0xdc00 && at + 1 < text.length ? text.charCodeAt(at + 1) : 0;
      if (low >= 0xdc00 && low < 0xe000) {
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        at++;
      } else {
        unit = 0xfffd; // half a pair is no character
      }
    }
    if (unit < 0x80) {
      bytes[length++] = unit;
    } else if (unit < 0x800) {
      bytes[length++] = 0xc0 | (unit >> 6);
      bytes[length++] = 0x80 | (unit & 0x3f);
    } else {
      if (unit < 0x10000) {
        bytes[length++] = 0xe0 | (unit >> 12);
      } else {
        bytes[length++] = 0xf0 | (unit >> 18);
        bytes[length++] = 0x80 | ((unit >> 12) & 0x3f);
      }
      bytes[length++] = 0x80 | ((unit >> 6) & 0x3f);
      bytes[length++] = 0x80 | (unit & 0x3f);
    }
  }
  return bytes;
}

// Each longest part that could have begun a character, and is none, becomes one U+FFFD; or, if fatal, a TypeError.
function utf8Decode(bytes, start, end, fatal) {
  let text = "";
  let needed = 0;
  let point = 0;
  let lowest = 0x80; // of the next byte: keeps out what is too long, half pairs, and beyond U+10FFFF
  let highest = 0xbf;
  const wrong = () => {
    if (fatal) throw new TypeError("The encoded data was not valid UTF-8");
    text += "\ufffd";
  };
  for (let at = start; at < end; at++) {
    const byte = bytes[at];
    if (needed > 0) {
      if (byte < lowest || byte > highest) {
        needed = 0;
        lowest = 0x80;
        highest = 0xbf;
        wrong();
        at--; // this byte may begin a character itself
        continue;
      }
      lowest = 0x80;
      highest = 0xbf;
      point = (point << 6) | (byte & 0x3f);
      if (--needed === 0) {
        text += point < 0x10000
          ? fromCharCode(point)
          : fromCharCode(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
      }
    } else if (byte < 0x80) {
      text += fromCharCode(byte);
    } else if (byte >= 0xc2 && byte < 0xe0) {
      needed = 1;
      point = byte & 0x1f;
    } else if (byte >= 0xe0 && byte < 0xf0) {
      needed = 2;
      point = byte & 0x0f;
      if (byte === 0xe0) lowest = 0xa0;
      if (byte === 0xed) highest = 0x9f;
    } else if (byte >= 0xf0 && byte < 0xf5) {
      needed = 3;
      point = byte & 0x07;
      if (byte === 0xf0) lowest = 0x90;
      if (byte === 0xf4) highest = 0x8f;
    } else {
      wrong();
    }
  }
  if (needed > 0) wrong();
  return text;
}

function bytesOf(source) {
  if (source === undefined) return new Uint8Array(0);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  throw new TypeError("The argument must be an ArrayBuffer or a view of one");
}

class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(text = "") {
    return new Uint8Array(utf8Encode(String(text)));
  }
}

class TextDecoder {
  #fatal;
  #ignoreBOM;

  constructor(label = "utf-8", options = {}) {
    if (!/^\s*(unicode-1-1-)?utf-?8\s*$/i.test(String(label))) {
      throw new RangeError(`TextDecoder knows utf-8 here, not ${label}`);
    }
    this.#fatal = Boolean(options.fatal);
    this.#ignoreBOM = Boolean(options.ignoreBOM);
  }

  get encoding() {
    return "utf-8";
  }

  get fatal() {
    return this.#fatal;
  }

  get ignoreBOM() {
    return this.#ignoreBOM;
  }

  decode(source) {
    const bytes = bytesOf(source);
    const marked = !this.#ignoreBOM && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    return utf8Decode(bytes, marked ? 3 : 0, bytes.length, this.#fatal);
  }
}

function define(holder, name, value) {
  defineProperty(holder, name, { value, writable: true, configurable: true, enumerable: false });
}

define(world, "TextEncoder", TextEncoder);
define(world, "TextDecoder", TextDecoder);
