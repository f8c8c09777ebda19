"""Loads one GGUF file with llama.cpp and answers one question: `run_llama.py FILE MODE`.

Prints one JSON document: the answer, and for each of its tokens the id and the logarithm of its
probability. Those depend on every weight, so they tell a model from a nearly equal one where the
words alone might not. Exits with 1 when the model doesn't load. One process per run: a failed load
may end in SIGBUS, and must take nobody else with it.
"""

import json
import sys

import xllamacpp

MODES = {
    # Whatever llama.cpp does when nobody asks: one shared, populated mapping of the whole file.
    "default": None,
    "buffered": xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE,
    "direct": xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_DIRECT_IO,
}


def main():
    path, mode = sys.argv[1], MODES[sys.argv[2]]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 512
    params.n_parallel = 1
    # A fixed number of threads keeps the order of additions, and so every last bit, the same.
    params.cpuparams.n_threads = 2
    params.warmup = False
    if mode is not None:
        params.load_mode = mode
    server = xllamacpp.Server(params)
    reply = server.handle_completions(
        {"prompt": "The capital of France is", "n_predict": 16, "temperature": 0, "logprobs": 1}
    )
    if "choices" not in reply:
        print(json.dumps(reply), file=sys.stderr)
        sys.exit(1)
    choice = reply["choices"][0]
    tokens = [[token["id"], token["logprob"]] for token in choice["logprobs"]["content"]]
    print(json.dumps({"text": choice["text"], "tokens": tokens}))


if __name__ == "__main__":
    main()
