"""What a run is asked to do: the schema, the origin of each value, what a resume may change."""
