"""Stand-ins for what surrounds OpenDify: a scripted Dify, a served app."""
