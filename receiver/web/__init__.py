"""The HTTP side: the push route, health, and the server that carries them over TLS."""
