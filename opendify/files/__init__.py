"""Where files are kept: those that clients upload, and those that apps make."""
