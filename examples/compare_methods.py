"""The same prompt by several methods: the text, and how many forwards each needs."""

import redraft

model = redraft.load("redraft-tiny")
for method in ("llada", "fast_dllm(threshold=0.9)", "fast_dllm(threshold=0.9, cache=dual())", "sdar"):
    result = redraft.generate(model, "sort: k f b d a =", method=method, max_new_tokens=12)
    print(f"{method:40} {result.forwards:3d} forwards  {result.text}")
