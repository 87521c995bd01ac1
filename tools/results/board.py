"""Times one peer where it runs: tokenize, infer, answer, one text at a time, on one thread. Python 3.9, no edgekit, but
for ``executorch-bare``.

``board.py SPEC`` reads a JSON file: runtime, file, tokenizer, texts (JSON lines), count, lengths. For each line of its
input it answers all texts once more and prints one JSON line.
"""

import gc
import json
import sys
import time


def memory(field):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise SystemExit("no " + field + " in /proc/self/status")


def onnx(file):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    loaded = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(ids):
        one = numpy.array([ids], numpy.int64)
        return loaded.run(["logits"], {"input_ids": one, "attention_mask": numpy.ones_like(one)})[0][0].tolist()

    return run


def litert(file, lengths):
    import numpy
    from ai_edge_litert.interpreter import Interpreter

    loaded = Interpreter(model_path=file, num_threads=1)
    loaded.allocate_tensors()
    runners = {}

    def run(ids):
        length = next(one for one in lengths if len(ids) <= one)
        if length not in runners:
            runners[length] = loaded.get_signature_runner("len" + str(length))
        inputs, mask = numpy.zeros((1, length), numpy.int32), numpy.zeros((1, length), numpy.int32)
        inputs[0, : len(ids)], mask[0, : len(ids)] = ids, 1
        return next(iter(runners[length](input_ids=inputs, attention_mask=mask).values()))[0].tolist()

    return run


def torchscript(file):
    import torch

    torch.set_num_threads(1)
    torch.backends.quantized.engine = "qnnpack"
    loaded = torch.jit.load(file)

    def run(ids):
        with torch.inference_mode():
            one = torch.tensor([ids])
            return loaded(one, torch.ones_like(one))[0].tolist()

    return run


def executorch(file):
    import torch
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    loaded = Runtime.get().load_program(file).load_method("forward")

    def run(ids):
        one = torch.tensor([ids], dtype=torch.int32)
        return loaded.execute([one, torch.ones_like(one)])[0][0].tolist()

    return run


def executorch_bare(file):
    """Where its Python module cannot be had, for want of torch: by edgekit's calls of the same C++ libraries."""
    from edgekit.agent.runtimes import executorch as bare

    loaded = bare.load(file, 1)

    def run(ids):
        return list(loaded.run(len(ids), ids, [1] * len(ids)))

    return run


def main(file):
    bare = memory("VmRSS")
    with open(file) as stream:
        spec = json.load(stream)
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(spec["tokenizer"])
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=(spec["lengths"] or [64])[-1])
    loaders = {"onnx": onnx, "torch": torchscript, "executorch": executorch, "executorch-bare": executorch_bare}
    if spec["runtime"] == "litert":
        run = litert(spec["file"], spec["lengths"])
    else:
        run = loaders[spec["runtime"]](spec["file"])
    with open(spec["texts"]) as stream:
        texts = [json.loads(line)["text"] for line in stream][: spec["count"]]
    for text in texts[:24]:
        run(tokenizer.encode(text).ids)
    gc.collect()
    gc.disable()
    for _ in sys.stdin:
        whole, inner, labels = [], [], []
        for text in texts:
            began = time.perf_counter()
            ids = tokenizer.encode(text).ids
            tokenized = time.perf_counter()
            logits = run(ids)
            ended = time.perf_counter()
            whole.append((ended - began) * 1e3)
            inner.append((ended - tokenized) * 1e3)
            labels.append(max(range(len(logits)), key=logits.__getitem__))
        used = {"bare_rss": bare, "vm_hwm": memory("VmHWM")}
        print(json.dumps({"end_to_end": whole, "inference": inner, "labels": labels, **used}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
