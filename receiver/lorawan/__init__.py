"""LoRaWAN itself: identifiers, keys, frame counters and FRMPayload encryption. Pure: bytes and values only."""
