"""Speech at Dify, in both directions: recordings → text, text → audio."""
