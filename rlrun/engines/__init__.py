"""What generates: the protocol that evaluation and rollouts share."""
