"""What was done with keys and rights, and who was refused: a log that shows when it was changed."""
