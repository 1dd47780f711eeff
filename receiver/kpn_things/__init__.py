"""What KPN Things sends: SenML packs, resolved. Pure."""
