"""How settings are written and read; what they are is declared in `opendify.settings`."""
