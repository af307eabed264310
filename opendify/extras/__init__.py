"""What Dify has and OpenAI lacks, for a person's own conversations and messages."""
