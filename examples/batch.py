"""Several prompts at once; each gets the tokens it would get alone."""

import redraft

model = redraft.load("redraft-tiny")
prompts = ["12+34=", "reverse: k f b =", "list 4 fruits:"]
together = redraft.generate(model, prompts, max_new_tokens=24, temperature=0.7, seed=[1, 2, 3])
for prompt, seed, result in zip(prompts, (1, 2, 3), together):
    alone = redraft.generate(model, prompt, max_new_tokens=24, temperature=0.7, seed=seed)
    assert alone.tokens == result.tokens
    print(prompt + result.text)
