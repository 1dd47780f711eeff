// The simulator's climate sensor: temperature (int16, 0.1 °C), relative humidity (uint8, 0.5 %), battery (uint16, mV).
function decodeUplink(input) {
  const bytes = input.bytes;
  if (bytes.length !== 5) {
    return { errors: [`a climate sensor sends 5 bytes, and not ${bytes.length}`] };
  }
  return {
    data: {
      temperature: (((bytes[0] << 24) >> 16) | bytes[1]) / 10,
      humidity: bytes[2] / 2,
      battery: ((bytes[3] << 8) | bytes[4]) / 1000,
    },
  };
}

function normalizeUplink(input) {
  return {
    data: {
      air: { temperature: input.data.temperature, relativeHumidity: input.data.humidity },
      battery: input.data.battery,
    },
  };
}

// How often it shall send, in minutes: uint16.
function encodeDownlink(input) {
  const minutes = input.data.interval_minutes;
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > 1440) {
    return { errors: ["interval_minutes is a whole number from 1 to 1440"] };
  }
  return { bytes: [minutes >> 8, minutes & 255], fPort: 2 };
}

function decodeDownlink(input) {
  return { data: { interval_minutes: (input.bytes[0] << 8) | input.bytes[1] } };
}
