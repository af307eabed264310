"""The only room that talks to Dify."""
