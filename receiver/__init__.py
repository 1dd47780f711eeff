"""The application server for LoRaWAN devices on ThingPark networks and KPN Things."""

__version__ = "0.1.0"
