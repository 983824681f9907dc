"""What developing Hearth needs and running it does not."""
