"""From payload bytes to named measurements: JavaScript codecs in a process of their own, and the built-in ones."""
