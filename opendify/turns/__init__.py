"""Each turn's conversation: found, claimed, moved on when the turn ends, begun anew where Dify lost it."""
