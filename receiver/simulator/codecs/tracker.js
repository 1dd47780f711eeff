// The simulator's tracker: latitude, longitude (int32, micro-degrees), speed (uint8, km/h), battery (uint8, %).
function decodeUplink(input) {
  const bytes = input.bytes;
  if (bytes.length !== 10) {
    return { errors: [`a tracker sends 10 bytes, and not ${bytes.length}`] };
  }
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return {
    data: {
      position: { latitude: view.getInt32(0) / 1e6, longitude: view.getInt32(4) / 1e6 },
      speed: view.getUint8(8),
      battery: view.getUint8(9),
    },
    warnings: view.getUint8(9) < 10 ? ["the battery is nearly empty"] : [],
  };
}
