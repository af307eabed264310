"""What answers one turn, and the stream of bytes that its client gets."""
