"""What operators do with stored conversations: look, forget, move, back up."""
