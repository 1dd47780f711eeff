// The simulator's parking sensor: occupied (uint8), times occupied (uint16), magnetic field on three axes (int16, 0.1 µT).
function decodeUplink(input) {
  const view = new DataView(Uint8Array.from(input.bytes).buffer);
  if (view.byteLength !== 9) {
    return { errors: [`a parking sensor sends 9 bytes, and not ${view.byteLength}`] };
  }
  return {
    data: {
      occupied: view.getUint8(0) === 1,
      times_occupied: view.getUint16(1),
      field: { x: view.getInt16(3) / 10, y: view.getInt16(5) / 10, z: view.getInt16(7) / 10 },
    },
  };
}
