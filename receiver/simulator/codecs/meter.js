// The simulator's water meter: volume (uint32, litres), flow (uint16, litres an hour), alarm bits (uint8).
function decodeUplink(input) {
  const view = new DataView(Uint8Array.from(input.bytes).buffer);
  if (view.byteLength !== 7) {
    return { errors: [`a water meter sends 7 bytes, and not ${view.byteLength}`] };
  }
  const alarms = view.getUint8(6);
  return {
    data: { volume: view.getUint32(0), flow: view.getUint16(4), alarms: { burst: (alarms & 1) === 1 } },
    warnings: alarms & 1 ? ["a pipe may have burst"] : [],
  };
}
