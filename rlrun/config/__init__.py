"""What a run is asked to do: the schema, where each value came from, and what a resume may change."""
