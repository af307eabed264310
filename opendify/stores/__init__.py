"""Where conversations are remembered: one Protocol, one module a back end."""
