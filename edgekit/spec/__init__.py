"""What host and device agree on: frozen dataclasses, standard library only, schema-versioned."""
