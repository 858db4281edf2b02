"""Fill the gap between a prompt and a suffix, and pin a text inside an answer."""

import redraft

model = redraft.load("redraft-tiny")
prompt, suffix = 'json pet: {"name": "Mia",', ' "good": true}'
gap = redraft.generate(model, prompt, suffix=suffix, max_new_tokens=24)
print(prompt + gap.text + suffix)

pinned = redraft.generate(model, "json pet:", pin={0: ' {"name": "Otto"'}, max_new_tokens=40)
print("json pet:" + pinned.text)
