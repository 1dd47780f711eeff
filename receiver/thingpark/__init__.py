"""The ThingPark LRC–AS tunnel: reports, tokens and the AS transport key. Pure: bytes and values only."""
