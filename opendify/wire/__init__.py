"""Shapes of the two wires: frozen types and their validation, no logic, no I/O."""
