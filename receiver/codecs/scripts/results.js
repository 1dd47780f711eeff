// Writes what a codec gives as JSON, and what it throws as sentences.
//
// What is used after the codec's script has run is kept here from before: a codec that replaces JSON, Promise or a
// method of arrays harms its own results only.

const { parse, stringify } = JSON;
const { apply } = Reflect;
const { isArray } = Array;
const arrayFrom = Array.from;
const { exec } = RegExp.prototype;
const { join } = Array.prototype;
const cut = String.prototype.slice;
const unitAt = String.prototype.charCodeAt;
const { then } = Promise.prototype;
const { getOwnPropertyNames } = Object;
const bufferJson = Buffer.prototype.toJSON;
const evaluate = eval; // called by another name it evaluates globally
const NativeDate = Date;
const NativeError = Error;
const NativePromise = Promise;
const NativeSyntaxError = SyntaxError;
const NativeBuffer = Buffer;
const NativeBytes = Uint8Array;
const textOf = String;
const numberOf = Number;
const { isSafeInteger } = Number;

const SENTENCES = 100;
const SENTENCE_LENGTH = 500;
const CONSOLE_LENGTH = 8 * 1024;
let largest; // of a result's JSON, in bytes
let firstOwnLine; // lines from here on are of these files, not of the codec
let crossing = false; // true while a result is written as JSON

let memoryEnded;
let spoiled; // a result could not be written: the script may have changed how that goes for all

define(Object.getPrototypeOf(Uint8Array.prototype), "toJSON", function () {
  return crossing ? apply(arrayFrom, undefined, [this]) : this;
});
define(NativeBuffer.prototype, "toJSON", function () {
  return crossing ? apply(arrayFrom, undefined, [this]) : apply(bufferJson, this, []);
});
define(BigInt.prototype, "toJSON", function () {
  if (!crossing) throw new TypeError("Do not know how to serialize a BigInt");
  const number = numberOf(this);
  return isSafeInteger(number) ? number : `${this}`;
});

// Gives JSON text, or undefined for what JSON cannot hold, as a function.
function toJson(value) {
  if (value === undefined) return undefined;
  crossing = true;
  let text;
  try {
    text = stringify(value);
  } catch (error) {
    spoiled = true;
    throw new NativeError(`The result cannot be written as JSON: ${tell(error)}`);
  } finally {
    crossing = false;
  }
  if (text !== undefined && tooLarge(text)) throw new NativeError(`The result is larger than ${largest} bytes of JSON`);
  return text;
}

function tooLarge(text) {
  if (text.length > largest) return true;
  if (text.length * 3 <= largest) return false;
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = apply(unitAt, text, [at]);
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes > largest;
}

// A list of texts that is written as it grows, because the arrays of a codec's context may be its own.
const newList = () => ({ __proto__: null, json: "", number: 0, length: 0 });

function add(list, sentence) {
  if (list.number >= SENTENCES) return;
  list.json += (list.number++ ? "," : "") + stringify(apply(cut, sentence, [0, SENTENCE_LENGTH]));
  list.length += sentence.length;
}

function addAll(list, given, prefix) {
  if (given === undefined || given === null || given === "" || given === false) return;
  if (!isArray(given)) {
    const sentence = plainText(given);
    if (sentence !== "{}") add(list, prefix + sentence);
    return;
  }
  for (let at = 0; at < given.length && at < SENTENCES; at++) add(list, prefix + plainText(given[at]));
}

// Never calls a toString of the codec's own.
function plainText(value) {
  if (typeof value === "string") return value;
  if (value instanceof NativeError) return tell(value);
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return textOf(value);
  try {
    crossing = true;
    return stringify(value) ?? "[function]";
  } catch {
    return "[object]";
  } finally {
    crossing = false;
  }
}

// Gives what was thrown as a sentence: `TypeError: … (line 12)`.
function tell(thrown) {
  try {
    if (!(thrown instanceof NativeError)) {
      const message = typeof thrown === "object" && thrown !== null ? thrown.message : undefined;
      const text = typeof message === "string" ? message : plainText(thrown);
      return text === "" ? "An empty text was thrown" : text;
    }
    const { name, message, stack } = thrown;
    const named = message === "" ? `${plainText(name)}` : `${plainText(name)}: ${plainText(message)}`;
    if (message === "out of memory") memoryEnded = true;
    if (name === "Error" && ownError(stack)) return plainText(message);
    const line = lineIn(stack);
    return line === null ? named : `${named} (line ${line})`;
  } catch {
    return "Something was thrown that cannot be told";
  }
}

const FRAME = /<input>:(\d+)/g;

function lineIn(stack) {
  if (typeof stack !== "string") return null;
  const frames = apply(cut, stack, [0, 4000]);
  FRAME.lastIndex = 0;
  for (let found = apply(exec, FRAME, [frames]); found !== null; found = apply(exec, FRAME, [frames])) {
    if (numberOf(found[1]) < firstOwnLine) return found[1];
  }
  return null;
}

// Whether an error was made by these files themselves, in a sentence of their own.
function ownError(stack) {
  if (typeof stack !== "string") return false;
  FRAME.lastIndex = 0;
  const found = apply(exec, FRAME, [apply(cut, stack, [0, 4000])]);
  return found !== null && numberOf(found[1]) >= firstOwnLine;
}
