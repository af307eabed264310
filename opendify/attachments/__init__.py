"""Files that come with a request: looked at, held against the app's limits, and handed to Dify."""
