"""What the server process itself must do around the app."""
