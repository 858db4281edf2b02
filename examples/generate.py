"""Decode one prompt with the model in the box, and say what it cost."""

import redraft

model = redraft.load("redraft-tiny")
result = redraft.generate(model, "314+271=", max_new_tokens=8)
print(result.text)
print(f"{result.forwards} forwards, {result.tokens_per_forward:.2f} tokens per forward, {result.method}")
