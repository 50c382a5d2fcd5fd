"""The .nrt file: a model's definition as a FlatBuffer, its tensors mapped, perhaps its optimised graph."""
