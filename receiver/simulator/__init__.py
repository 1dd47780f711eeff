"""An outside actor: devices and a network (the LRC) that sign and push reports. It knows no database."""
