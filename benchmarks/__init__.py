"""What OpenDify costs: a mock Dify, a load generator, and the targets that stand between them."""
