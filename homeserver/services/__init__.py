"""What the server does: each service gathers what core decides about, and writes through the one writer."""
