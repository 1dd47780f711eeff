// The simulator's home-made device: text such as `T=21.5;B=3.61`. This one is in the older form of The Things Network.
var NAMES = { T: "temperature", B: "battery" };

function Decoder(bytes, port) {
  var decoded = {};
  String.fromCharCode.apply(null, bytes).split(";").forEach(function (pair) {
    var parts = pair.split("=");
    decoded[NAMES[parts[0]] || parts[0]] = parseFloat(parts[1]);
  });
  return decoded;
}
