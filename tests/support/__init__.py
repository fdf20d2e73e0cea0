"""What tests share: a model of almost no size, sessions in forked processes, and one oracle."""
