"""Pure translation between the two wires, through the waist in `turn.py`: no I/O, no clock, no settings."""
