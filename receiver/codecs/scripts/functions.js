// Runs a codec's script and finds its functions, wherever a script may put them; and what it finds beside the language.

const NAMES = [
  "decodeUplink",
  "decodeDownlink",
  "encodeDownlink",
  "normalizeUplink",
  "extractPoints",
  "Decoder",
  "Converter",
  "Encoder",
  "Decode",
  "Encode",
];

let signature;
let run; // runs the script from its beginning and gives what stands under each of NAMES, and under `driver`
let lastFound; // undefined until the script has loaded
let keepsConsole = false;
let lines;

function write(...parts) {
  if (!keepsConsole || lines.number >= SENTENCES || lines.length >= CONSOLE_LENGTH) return;
  let line = "";
  for (let at = 0; at < parts.length; at++) line += (at ? " " : "") + plainText(parts[at]);
  add(lines, apply(cut, line, [0, CONSOLE_LENGTH - lines.length]));
}

function require(name) {
  if (name === "buffer" || name === "node:buffer") return { Buffer: NativeBuffer };
  throw new NativeError(`require('${plainText(name)}') is not possible: a codec is one script, without other modules`);
}

// Runs the script afresh, so that what one payload left in its variables never reaches another device's.
function find() {
  const module = { exports: {} };
  world.module = module;
  world.exports = module.exports;
  world.require = require;
  const values = apply(run, world, []);
  const exported = module.exports;
  const found = { __proto__: null };
  if (values === undefined) return found; // the script has a `return` of its own
  const driver = values[NAMES.length];
  for (let at = 0; at < NAMES.length; at++) {
    const name = NAMES[at];
    if (lastFound !== undefined && lastFound[name] === undefined) continue; // it was not there when it was loaded
    if (typeof values[at] === "function") found[name] = { __proto__: null, function: values[at], of: undefined };
    else {
      found[name] = held(exported, name) ?? held(driver, name)
        ?? held(exported?.driver, name) ?? held(exported?.default, name);
    }
  }
  return found;
}

function held(holder, name) {
  const holds = (typeof holder === "object" && holder !== null) || typeof holder === "function";
  const value = holds ? holder[name] : undefined;
  return typeof value === "function" ? { __proto__: null, function: value, of: holder } : undefined;
}

function findAgain() {
  try {
    lastFound = find();
  } catch (error) {
    // Some scripts cannot run twice, as those that define something for good; then it is as it was.
    if (memoryEnded || (error instanceof NativeError && error.message === "out of memory")) throw error;
  }
  return lastFound;
}

function load(script) {
  let source = `(function(){${script}\n;return [`;
  for (let at = 0; at <= NAMES.length; at++) {
    const name = at < NAMES.length ? NAMES[at] : "driver";
    source += `typeof ${name}==='undefined'?undefined:${name},`;
  }
  try {
    run = evaluate(`${source}]})`);
  } catch (error) {
    if (error instanceof NativeSyntaxError && apply(exec, /^\s*(export|import)\b/m, [script]) !== null) {
      throw new NativeError(
        "The script is an ES module (export, import): make one script of it, as CommonJS or a bundle",
      );
    }
    throw error;
  }
  lastFound = find();
  let operations = "";
  const tell = (has, name) => {
    if (has) operations += `${operations === "" ? "" : ","}"${name}"`;
  };
  tell(uplinkStyle(lastFound) !== null, "decodeUplink");
  tell(lastFound.normalizeUplink !== undefined, "normalizeUplink");
  tell(encodeStyle(lastFound) !== null, "encodeDownlink");
  tell(lastFound.decodeDownlink !== undefined, "decodeDownlink");
  return `{"operations":[${operations}]}`;
}

// Scripts for these two networks may be of their newer form, which is that of the LoRa Alliance.
function uplinkStyle(found) {
  if (signature === "ttn" && found.Decoder) return "Decoder";
  if (signature === "chirpstack" && found.Decode) return "Decode";
  return found.decodeUplink ? "decodeUplink" : null;
}

function encodeStyle(found) {
  if (signature === "ttn" && found.Encoder) return "Encoder";
  if (signature === "chirpstack" && found.Encode) return "Encode";
  return found.encodeDownlink ? "encodeDownlink" : null;
}

function missing(name) {
  const other = signature === "ttn" ? { decodeUplink: "Decoder", encodeDownlink: "Encoder" }[name]
    : signature === "chirpstack" ? { decodeUplink: "Decode", encodeDownlink: "Encode" }[name] : undefined;
  throw new NativeError(`The script has no function ${other ?? name}`);
}
