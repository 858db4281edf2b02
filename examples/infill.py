"""Fill the gap between a prompt and a suffix, and pin a word inside an answer."""

import redraft

model = redraft.load("redraft-tiny")
gap = redraft.generate(
    model, "Once upon a time, there was a little", suffix=" They were very happy.", max_new_tokens=16
)
print("Once upon a time, there was a little" + gap.text + " They were very happy.")

pinned = redraft.generate(model, "One day, Tim", pin={8: " ball"}, max_new_tokens=24)
print("One day, Tim" + pinned.text)
