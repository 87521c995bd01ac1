"""A source → samples: labelled texts, cleaned, checked and split the same way on every machine."""
