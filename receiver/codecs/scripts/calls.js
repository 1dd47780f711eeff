// Calls a codec's functions as its signature says. What goes in and what comes out is JSON.

let waiting = null; // what goes on when a promise has settled
let warnings;
let errors;

const call = (found, given) => apply(found.function, found.of, given);

// Goes on with a result at once, or when the promise that it is has settled.
function settled(result, goOn) {
  if (!(result instanceof NativePromise)) return goOn(result);
  const promise = { __proto__: null, goOn, state: "pending", value: undefined };
  waiting = promise;
  apply(then, result, [
    (value) => {
      promise.state = "kept";
      promise.value = value;
    },
    (error) => {
      promise.state = "broken";
      promise.value = error;
    },
  ]);
  return null;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !isArray(value);
}

function hasForm(result) {
  if (!isObject(result)) return false;
  if (signature !== "thingpark-x-js") return "data" in result || "errors" in result || "warnings" in result;
  const names = getOwnPropertyNames(result);
  for (let at = 0; at < names.length; at++) {
    if (names[at] !== "data" && names[at] !== "errors" && names[at] !== "warnings") return false;
  }
  return "data" in result || "errors" in result;
}

function decodeFrame(name, text) {
  const given = parse(text);
  const bytes = given[0];
  const fPort = given[1];
  const time = new NativeDate(given[2]);
  const found = findAgain();
  const style = name === "decodeUplink" ? uplinkStyle(found) : found.decodeDownlink ? name : null;
  if (style === "Decoder") {
    return settled(call(found.Decoder, [bytes, fPort]), (result) => {
      const converted = found.Converter && result ? call(found.Converter, [result, fPort]) : result;
      return decoded(name, found, time, converted, false);
    });
  }
  if (style === "Decode") {
    return settled(call(found.Decode, [fPort, bytes, {}]), (result) => decoded(name, found, time, result, false));
  }
  if (style === null) missing(name);
  const input = signature === "thingpark-x-js"
    ? { bytes: NativeBuffer.from(bytes), fPort, recvTime: given[3], time }
    : { bytes, fPort, recvTime: time, variables: {} };
  return settled(call(found[name], [input]), (result) => decoded(name, found, time, result, hasForm(result)));
}

function decoded(name, found, time, result, formed) {
  if (result === undefined || result === null) throw new NativeError(`${name} gave nothing`);
  const data = formed ? result.data : result;
  if (formed) {
    addAll(warnings, result.warnings, "");
    addAll(errors, result.errors, "");
    if (errors.number) return finish("");
  }
  const json = data === null ? undefined : toJson(data);
  if (json === undefined || json === "null") throw new NativeError(`${name} gave no data`);
  let parts = `,"data":${json}`;
  if (name === "decodeUplink") {
    if (found.normalizeUplink) {
      parts += after("normalizeUplink", () => normalized(call(found.normalizeUplink, [{ data }])));
    }
    if (found.extractPoints && signature === "thingpark-x-js") {
      parts += after("extractPoints", () => points(call(found.extractPoints, [{ message: data, time }])));
    }
  }
  return finish(parts);
}

// What follows a decoding may fail: that is a warning, the data stay.
function after(name, make) {
  try {
    return make();
  } catch (error) {
    add(warnings, `${name}: ${tell(error)}`);
    return "";
  }
}

function normalized(result) {
  if (!isObject(result)) throw new NativeError("gave no object");
  addAll(warnings, result.warnings, "normalizeUplink: ");
  addAll(warnings, result.errors, "normalizeUplink: ");
  const json = toJson(result.data);
  return json === undefined ? "" : `,"normalized":${json}`;
}

function points(result) {
  if (!isObject(result) || result instanceof NativePromise) throw new NativeError("gave no object");
  return `,"points":${toJson(result)}`;
}

function encodeFrame(text) {
  const given = parse(text);
  const object = given[0];
  const fPort = given[1] ?? undefined;
  const found = findAgain();
  const style = encodeStyle(found);
  if (style === "Encoder") return settled(call(found.Encoder, [object, fPort]), encoded);
  if (style === "Encode") return settled(call(found.Encode, [fPort, object, {}]), encoded);
  if (style === null) missing("encodeDownlink");
  const input = signature === "thingpark-x-js" ? object : { data: object, fPort, variables: {} };
  return settled(call(found.encodeDownlink, [input]), encoded);
}

function encoded(result) {
  if (result === undefined || result === null) throw new NativeError("encodeDownlink gave nothing");
  const formed = isObject(result) && !(result instanceof NativeBytes);
  if (formed) {
    addAll(warnings, result.warnings, "");
    addAll(errors, result.errors, "");
    if (errors.number) return finish("");
  }
  const bytes = toJson(formed ? result.bytes : result);
  if (bytes === undefined) throw new NativeError("encodeDownlink gave no bytes");
  const fPort = formed ? toJson(result.fPort) : undefined;
  return finish(`,"bytes":${bytes}${fPort === undefined ? "" : `,"fPort":${fPort}`}`);
}

// A first letter tells the process what the other end need not know: "!" that memory ended, "?" that this context is
// spoiled.
function finish(parts) {
  const told = `{"warnings":[${warnings.json}],"errors":[${errors.json}],"console":[${lines.json}]`;
  const text = `${memoryEnded ? "!" : spoiled ? "?" : ""}${told}${errors.number ? "" : parts}}`;
  // QuickJS keeps a long text in the pieces that it was put together from, which Python cannot take.
  return text.length < 256 ? text : apply(join, [text], [""]);
}

function attempt(make) {
  try {
    return make();
  } catch (error) {
    add(errors, tell(error));
    return finish("");
  }
}

function settle() {
  const promise = waiting;
  waiting = null;
  if (promise.state === "kept") return promise.goOn(promise.value);
  if (promise.state === "broken") throw promise.value;
  throw new NativeError("An asynchronous codec must settle at once: its promise was still pending");
}

define(world, "console", { log: write, info: write, warn: write, error: write, debug: write, trace: write });

// What the child calls: `verb` is load, settle, or an operation; null comes back while a promise is to be settled.
return function ask(verb, text, how) {
  if (verb === "settle") return attempt(settle);
  warnings = newList();
  errors = newList();
  lines = newList();
  memoryEnded = false;
  spoiled = false;
  waiting = null;
  if (verb === "load") {
    const settings = parse(how);
    ({ signature, largest, firstOwnLine } = settings);
    return attempt(() => load(text));
  }
  keepsConsole = how === "console";
  if (verb === "encodeDownlink") return attempt(() => encodeFrame(text));
  return attempt(() => decodeFrame(verb, text));
};
